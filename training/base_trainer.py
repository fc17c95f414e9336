# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the trainers share: numbers that do not depend on the split into micro-batches and processes, a trunk that may
be unfrozen in the middle of a run, and checkpoints that are whole or not there.
"""

import os
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput, has_length, unwrap_peft_model

from critic_gpt.hub.folder import write_source_files
from critic_gpt.training.arguments import CriticTrainingArguments
from critic_gpt.training.callbacks import SetEpochCallback
from critic_gpt.training.checkpoints import staged_folder
from critic_gpt.training.counted_batches import CountedBatches
from critic_gpt.training.launching import meet_processes
from critic_gpt.training.like_lengths import LikeLengthsSampler, row_lengths
from critic_gpt.training.measurements import record_training
from critic_gpt.training.model_card import write_model_card
from critic_gpt.training.modifiers import LossModifiers
from critic_gpt.training.optimizing import GroupedOptimizer
from critic_gpt.training.predicting import EvaluationSums, Predictions
from critic_gpt.training.resuming import ResumableTraining
from critic_gpt.training.speed import PassOperations, SpeedCallback
from critic_gpt.training.weight_average import (
    TRAINING_WEIGHTS_NAME,
    WeightAverageCallback,
    load_training_weights,
)


def _check_arguments(args, data_collator, tokenizer, kwargs: dict[str, Any]) -> None:
    """Refuses what would fail later or train something else than was meant."""
    if not isinstance(args, CriticTrainingArguments):
        raise ValueError(
            f"`args` must be CriticTrainingArguments, got {type(args).__name__}: it has fields of its own, such as "
            "`critic_warmup_end`."
        )
    for name in ("train_dataset", "eval_dataset"):
        given: Any = kwargs.get(name)
        for dataset in given.values() if isinstance(given, dict) else [given]:
            if has_length(dataset) and len(dataset) == 0:
                raise ValueError(f"`{name}` must hold at least one example, got none: check the prepared data.")
    own_optimizer = kwargs.get("optimizer_cls_and_kwargs") or (kwargs.get("optimizers") or (None,))[0]
    if args.muon_learning_rate is not None and own_optimizer is not None:
        raise ValueError(
            f"`muon_learning_rate` must be left out beside an optimizer of your own, got {args.muon_learning_rate}: "
            "give one of the two."
        )
    if data_collator is None and tokenizer is None:
        raise ValueError("`processing_class` or `data_collator` must be given, got neither: pass the tokenizer.")


class ExactTrainer(ResumableTraining, GroupedOptimizer, CountedBatches, Predictions, Trainer):
    """
    The common part of [`CriticTrainer`] and the trainers of the other heads. A subclass says what makes its batches
    (`_default_collator`), what is summed and by what it is divided: `_count` and `compute_loss` for training,
    `_evaluation_rows` and `_evaluation_metrics` for evaluation.
    """

    # `compute_loss` divides by sums over the whole accumulated batch of all processes itself.
    loss_is_scaled_for_ga = True

    # The task whose loss modifiers this trainer takes, if any.
    modified_task: str | None = None

    control: Any  # of the parent, which gives it no type

    def __init__(
        self,
        model=None,
        args: CriticTrainingArguments | None = None,
        data_collator=None,
        loss_modifiers: LossModifiers | None = None,
        **kwargs,
    ):
        if args is None:
            args = CriticTrainingArguments(output_dir="runs/trainer")
        tokenizer = kwargs.get("processing_class")
        _check_arguments(args, data_collator, tokenizer, kwargs)
        self._check_own_arguments(args, data_collator)
        self._check_modifiers(loss_modifiers)
        super().__init__(model=model, args=args, data_collator=data_collator, **kwargs)
        self.loss_modifiers = None if loss_modifiers is None else loss_modifiers.to(self.args.device)
        # Sums of numerators and denominators since the last log, kept on the device.
        self._sums: dict[str, torch.Tensor] = {}
        if data_collator is None:
            self.data_collator = self._default_collator(tokenizer)
        self.add_callback(SetEpochCallback())
        self._speed = SpeedCallback()
        self.add_callback(self._speed)
        self._average = WeightAverageCallback(self.args.ema_decay)
        if self.args.ema_decay > 0.0:
            self.add_callback(self._average)

    def _check_own_arguments(self, args: CriticTrainingArguments, data_collator) -> None:
        """Refuses arguments that have no effect on what this trainer trains."""

    def _default_collator(self, tokenizer):
        """What makes batches where no collator is given."""
        raise NotImplementedError

    @property
    def _unwrapped(self):
        """The model itself, below what distributes and compiles it and below PEFT."""
        return unwrap_peft_model(self.accelerator.unwrap_model(self.model, keep_torch_compile=False))

    @property
    def _config(self):
        return self._unwrapped.config

    def create_accelerator_and_postprocess(self) -> None:
        """As the parent's, after a look at what was launched."""
        meet_processes(self.args)
        super().create_accelerator_and_postprocess()

    def _get_train_sampler(self, train_dataset=None):
        """As the parent's, but rows of like length come in an order that a resumed run and every process know."""
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or not has_length(dataset):
            return super()._get_train_sampler(train_dataset)
        rows = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        lengths = row_lengths(dataset, self.args.length_column_name)
        return LikeLengthsSampler(lengths, rows, self.args.sampling_seed)

    # ---- loss modifiers ----

    def _check_modifiers(self, modifiers: LossModifiers | None) -> None:
        if modifiers is None or modifiers.task == self.modified_task:
            return
        way_out = "leave them out" if self.modified_task is None else f"take some of {self.modified_task}"
        raise ValueError(
            f"`loss_modifiers` must be of the loss that {type(self).__name__} trains, got some of {modifiers.task}: "
            f"{way_out}."
        )

    def _acting_modifiers(self, model: nn.Module) -> LossModifiers | None:
        """What modifies losses now: in training alone, so that evaluations can be compared."""
        modifiers = self.loss_modifiers
        return modifiers if modifiers is not None and model.training and modifiers.enabled else None

    # ---- a step of training ----

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """As the parent's; gradients of parameters that were frozen when DDP wrapped the model are averaged here."""
        tokens = self._tokens(inputs)
        self._speed.add(tokens, 0.0 if self._speed.peak is None else self._operations(inputs, tokens))
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._average_late_gradients()
        return loss

    @staticmethod
    def _tokens(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The real tokens of a micro-batch."""
        mask = inputs.get("attention_mask")
        return (torch.ones_like(inputs["input_ids"]) if mask is None else mask).sum().float()

    def _operations(self, inputs: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
        """The floating-point operations that the training of a micro-batch with so many real tokens asks for."""
        return self._pass_operations.trunk(tokens, inputs["input_ids"].shape[-1])

    @cached_property
    def _pass_operations(self) -> PassOperations:
        return PassOperations(self._unwrapped, self._config)

    # ---- the average of the weights ----

    def _prepare_for_training(self, max_steps, train_dataloader, resume_from_checkpoint):
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if self.args.ema_decay > 0.0:
            self._average.start(self.model, self.optimizer)  # a checkpoint's model is its average
        if resume_from_checkpoint is not None:
            load_training_weights(self.model, resume_from_checkpoint)
        return prepared

    def _finalize_training(self, trial, num_train_samples, start_time):
        # From here on the model is its average, unless the parent puts the best checkpoint, another one, in its place.
        self._average.finish()
        return super()._finalize_training(trial, num_train_samples, start_time)

    # ---- checkpoints ----

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent's, but of the average of the weights; outside of checkpoints always whole, never in shards."""
        with self._average.applied(), self._whole_weights(needed=not _internal_call):
            super().save_model(output_dir, _internal_call)
        if self.args.should_save and not _internal_call:
            self._write_card(self.args.output_dir if output_dir is None else output_dir)

    def create_model_card(
        self,
        language: str | list[str] | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | None = None,
        dataset_tags: str | list[str] | None = None,
        report_dir: str | os.PathLike | None = None,
        data_dir: str | os.PathLike | None = None,
    ) -> None:
        """
        Writes the card of the model that was saved last, [`~training.model_card.write_model_card`], with what this
        training knows. `push_to_hub` passes its further arguments on to here.

        Args:
            language, license, tags, model_name (*optional*): As the parent's.
            finetuned_from (`str`, *optional*): Hub name of the model that the training began with.
            tasks (`str`, *optional*): Task of the hub, `pipeline_tag`.
            dataset_tags (`str` or `list[str]`, *optional*): Hub names of the data.
            report_dir, data_dir (`str` or `os.PathLike`, *optional*): As for `write_model_card`.
        """
        if self.is_world_process_zero():
            asked = {"language": language, "license": license, "tags": tags, "model_name": model_name}
            asked |= {"base_model": finetuned_from, "pipeline_tag": tasks, "datasets": dataset_tags}
            self._write_card(self.args.output_dir, report_dir=report_dir, data_dir=data_dir, **asked)

    def _write_card(self, folder: str | os.PathLike, **asked) -> None:
        record_training(folder, self)
        write_model_card(folder, repo_id=self.hub_model_id or self.args.hub_model_id, **asked)

    @contextmanager
    def _whole_weights(self, needed: bool):
        """Within it FSDP gathers the weights, whatever its checkpoints are made of."""
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is None or not needed:
            yield
            return
        kind = plugin.state_dict_type
        plugin.set_state_dict_type("FULL_STATE_DICT")
        try:
            yield
        finally:
            plugin.set_state_dict_type(kind)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """As the parent's, but an interruption leaves no half-written file."""
        output_dir = output_dir if output_dir is not None else self.args.output_dir
        if state_dict is not None:
            # Gathered from its parts, a tied weight is no longer seen to be the same and would be written twice.
            tied = self._unwrapped.all_tied_weights_keys
            state_dict = {name: weight for name, weight in state_dict.items() if name not in tied}
        with staged_folder(output_dir, writer=self.args.should_save) as staging:
            super()._save(staging, state_dict)
            Path(staging, "README.md").unlink(missing_ok=True)  # the blank card of PEFT would take the place of ours
        if self.args.should_save:
            Path(output_dir, TRAINING_WEIGHTS_NAME).unlink(missing_ok=True)  # of an older model

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """As the parent's, which copies weights and configurations only: with the code that they need."""
        if self.is_world_process_zero():
            write_source_files(self.args.output_dir)
        super()._push_from_checkpoint(checkpoint_folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """As the parent's, with the weights that the optimizer goes on with, where they are not the saved ones."""
        with self._average.applied():  # FSDP keeps a model of its own beside its optimizer
            super()._save_optimizer_and_scheduler(output_dir)
        if self.args.ema_decay > 0.0:
            self._average.save_training_weights(output_dir, writer=self.args.should_save)

    def _issue_warnings_after_load(self, load_result) -> None:
        """As the parent's; a tied weight is in the checkpoint under its other name."""
        tied = self.model.all_tied_weights_keys
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    # ---- logs ----

    def _add_to_logs(self, pairs: dict[str, torch.Tensor]) -> None:
        """Adds (numerator, denominator) pairs, each of shape (2,), to the means of the next log."""
        for name, pair in pairs.items():
            self._sums[name] = self._sums.get(name, 0) + (0.0 * pair if self._is_repeated else pair)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means over all steps since the last log, and the speed of these, to training logs."""
        if "loss" in logs and self._sums:
            for name in sorted(self._sums):
                total, count = self.accelerator.gather(self._sums[name][None]).sum(dim=0).tolist()
                if count > 0:  # there is no mean of nothing
                    logs[name] = total / count
            self._sums.clear()
            logs.update(self._speed.figures(self.accelerator))
        elif "train_loss" in logs:
            self._sums.clear()
        super().log(logs, start_time)

    # ---- evaluation ----

    def _evaluation_rows(
        self, model: nn.Module, batch: dict[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """
        Of a batch: by name, terms (B, K) that are summed over all rows; and values (B, N, K + 1) that are kept where
        the last of them is not 0.
        """
        raise NotImplementedError

    def _evaluation_metrics(self, sums: dict[str, torch.Tensor], kept: torch.Tensor | None) -> dict[str, float]:
        """The metrics, of the sums (K,) in float64 and of the kept values (M, K) of the whole set, on the CPU."""
        raise NotImplementedError

    def evaluation_loop(
        self,
        dataloader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """
        Metrics of the whole evaluation set, made of sums over its rows: the same numbers on any number of processes
        and for any batch size. With `compute_metrics`, and in `predict`, logits are gathered beside them.
        """
        wanted = self.args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        with self._average.applied():
            if wanted or (self.compute_metrics is None and description != "Prediction"):
                return self._evaluate_rows(dataloader, metric_key_prefix)
            return self._predict_rows(dataloader, description, ignore_keys, metric_key_prefix)

    def _evaluate_rows(self, dataloader, metric_key_prefix: str) -> EvalLoopOutput:
        model = self._wrap_model(self.model, training=False)
        if len(self.accelerator._models) == 0 and model is self.model:
            # Evaluation before any training: autocast and compilation as in training, but no sharding yet.
            model = self.accelerator.prepare_model(model.to(self.args.device), evaluation_mode=True)
        model.eval()
        self.callback_handler.eval_dataloader = dataloader
        evaluation, num_samples = EvaluationSums(), 0
        for batch in dataloader:
            batch = self._prepare_inputs(batch)
            here = torch.ones(len(batch["input_ids"]), device=self.args.device)
            num_samples += len(self.accelerator.gather_for_metrics(here))
            with torch.no_grad(), self.compute_loss_context_manager():
                terms, values = self._evaluation_rows(model, batch)
            evaluation.add(terms, values, self.accelerator)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        metrics = self._evaluation_metrics(evaluation.sums, torch.cat(evaluation.kept) if evaluation.kept else None)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=num_samples)
