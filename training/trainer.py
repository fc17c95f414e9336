# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A Trainer for masked diffusion with a critic, exact whatever the accumulation and the number of processes."""

import math
from itertools import islice
from typing import Any

import torch
from datasets import IterableDataset
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput, has_length

from critic_gpt.calibrated_model_critic_gpt import weights_file_name
from critic_gpt.diffusion_critic_gpt import fill_positions, judged_positions
from critic_gpt.training.arguments import CriticTrainingArguments, critic_alpha_at
from critic_gpt.training.callbacks import DropCalibrationCallback, SetEpochCallback
from critic_gpt.training.checkpoints import staged_folder
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion
from critic_gpt.training.data import IdentifiedExamples


def _check_arguments(args, data_collator, tokenizer, kwargs: dict[str, Any]) -> None:
    """Refuses what would fail later or train something else than was meant."""
    if not isinstance(args, CriticTrainingArguments):
        raise ValueError(
            f"`args` must be CriticTrainingArguments, got {type(args).__name__}: it has fields of its own, such as "
            "`critic_warmup_end`."
        )
    for name in ("train_dataset", "eval_dataset"):
        given = kwargs.get(name)
        for dataset in given.values() if isinstance(given, dict) else [given]:
            if has_length(dataset) and len(dataset) == 0:
                raise ValueError(f"`{name}` must hold at least one example, got none: check the prepared data.")
    if data_collator is None and tokenizer is None:
        raise ValueError("`processing_class` or `data_collator` must be given, got neither: pass the tokenizer.")


class CriticTrainer(Trainer):
    """
    Trains a [`CriticGPTForMaskedLM`].

    Args:
        model ([`CriticGPTForMaskedLM`]): With or without a critic head.
        args ([`CriticTrainingArguments`]): Arguments.
        data_collator (*optional*): [`DataCollatorForMaskedDiffusion`] by default, made from `processing_class`.
        kwargs: As for [`~transformers.Trainer`].
    """

    # `compute_loss` divides by sums over the whole accumulated batch of all processes itself.
    loss_is_scaled_for_ga = True

    def __init__(self, model=None, args: CriticTrainingArguments | None = None, data_collator=None, **kwargs):
        if args is None:
            args = CriticTrainingArguments(output_dir="runs/trainer")
        tokenizer = kwargs.get("processing_class")
        _check_arguments(args, data_collator, tokenizer, kwargs)
        super().__init__(model=model, args=args, data_collator=data_collator, **kwargs)
        config = self._config
        if data_collator is None:
            self.data_collator = DataCollatorForMaskedDiffusion(
                tokenizer,
                critic_regime=config.critic_regime if config.add_critic_head else None,
                seed=args.data_seed if args.data_seed is not None else args.seed,
                min_mask_rate=args.min_mask_rate,
            )
        tokenizer = getattr(self.data_collator, "tokenizer", tokenizer)
        mask_token_id = getattr(tokenizer, "mask_token_id", None)
        if None not in (mask_token_id, config.mask_token_id) and mask_token_id != config.mask_token_id:
            raise ValueError(
                f"`mask_token_id` of the model must be that of the tokenizer, {mask_token_id}, got "
                f"{config.mask_token_id}: train with the tokenizer the model was made for."
            )
        # The generation config names the same special tokens, or the parent would report them as new ones.
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if getattr(self.model.generation_config, name) is None:
                setattr(self.model.generation_config, name, getattr(config, name))
        self.add_callback(SetEpochCallback())
        self.add_callback(DropCalibrationCallback())
        # Sums of numerators and denominators since the last log, kept on the device.
        self._sums: dict[str, torch.Tensor] = {}
        self._last_alpha = self.critic_alpha()

    # ---- data ----

    def _get_dataloader(self, dataset, description, *args, is_training: bool = False, **kwargs):
        """
        As the parent's, with an id and the epoch in every example, and outside of training with the corruption of
        evaluation: the same at every call and on any number of processes.
        """
        iterable = isinstance(dataset, (IterableDataset, torch.utils.data.IterableDataset))
        if not iterable and not isinstance(dataset, IdentifiedExamples):
            dataset = IdentifiedExamples(dataset)
        training_collator = self.data_collator
        if not is_training and hasattr(training_collator, "for_evaluation"):
            self.data_collator = training_collator.for_evaluation()
        try:
            return super()._get_dataloader(dataset, description, *args, is_training=is_training, **kwargs)
        finally:
            self.data_collator = training_collator

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device):
        """As the parent's; batches of a collator that knows no critic get the positions it will judge here."""
        batches = [self._with_fill_mask(batch) for batch in islice(epoch_iterator, num_batches)]
        return batches, self._get_num_items_in_batch(batches, device)

    def _with_fill_mask(self, batch: dict[str, Any]) -> dict[str, Any]:
        config = self._config
        if not config.add_critic_head or batch.get("fill_mask") is not None or "labels" not in batch:
            return batch
        masked = self._masked(batch)
        share = torch.rand((len(masked), 2), device=masked.device)
        fill_mask = fill_positions(masked, config.critic_regime, share, torch.rand(masked.shape, device=masked.device))
        return {**batch, "fill_mask": fill_mask}

    def _issue_warnings_after_load(self, load_result) -> None:
        """As the parent's; a tied weight is in the checkpoint under its other name."""
        tied = self.model.all_tied_weights_keys
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    # ---- loss ----

    @property
    def _config(self):
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False).config

    def _masked(self, batch: dict[str, Any]) -> torch.Tensor:
        mask_token_id = self._config.mask_token_id
        return batch["labels"] != -100 if mask_token_id is None else batch["input_ids"] == mask_token_id

    def _count_terms(self, batch: dict[str, Any]) -> torch.Tensor:
        """Normalisers (B, 3) of each row: real tokens (labels without weights), judged positions, filled positions."""
        config, labels, input_ids = self._config, batch["labels"], batch["input_ids"]
        supervised = labels != -100
        if "loss_weights" not in batch:
            real = supervised
        else:
            real = batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(labels)
        masked = self._masked(batch)
        fill_mask = batch["fill_mask"] if batch.get("fill_mask") is not None else masked
        judged = judged_positions(
            input_ids, labels, fill_mask, masked, config.critic_target_scope, pad_token_id=config.pad_token_id
        )
        filled = fill_mask.bool() & masked & supervised
        return torch.stack([part.sum(dim=-1) for part in (real, judged, filled)], dim=-1).float()

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | None:
        """Normalisers (3,) of the whole accumulated batch of all processes, counted before the first backward."""
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        counts = torch.stack([self._count_terms(batch).sum(dim=0) for batch in batch_samples]).sum(dim=0).to(device)
        return self.accelerator.gather(counts[None]).sum(dim=0).clamp(min=1)

    def critic_alpha(self) -> float:
        """Present weight of the critic's loss."""
        start, end = self.args.critic_warmup_start, self.args.critic_warmup_end
        return critic_alpha_at(self.state.global_step, self._config.critic_alpha, start, end)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """
        One micro-batch's part of the loss `lm + alpha * critic + correction_alpha * correction`, each term a sum over
        tokens divided by its count over the accumulated batch of all processes (`num_items_in_batch`). Multiplied by
        the number of processes, which the averaging of gradients takes out again. Without the counts: the plain mean
        over this micro-batch.
        """
        config = self._config
        counts = num_items_in_batch
        if counts is None:
            counts = self._count_terms(inputs).sum(dim=0).clamp(min=1)
        alpha = self.critic_alpha() if model.training else config.critic_alpha
        # Depends on configuration and step only, so every process takes the same way.
        critic_pass = config.add_critic_head and (alpha > 0 or config.correction_alpha > 0)
        if config.add_critic_head:
            inputs = {**inputs, "critic_pass": critic_pass}
        outputs = model(**inputs)
        loss = outputs["lm_token_loss"].sum() / counts[0]
        if critic_pass:
            loss = loss + alpha * outputs["critic_token_loss"].sum() / counts[1]
            if outputs.get("correction_token_loss") is not None:
                loss = loss + config.correction_alpha * outputs["correction_token_loss"].sum() / counts[2]
        elif config.add_critic_head:
            # The model adds 0 * head to its own loss; taking the same zero keeps the head in the graph.
            loss = loss + (outputs["loss"] - outputs["lm_loss"])
        if model.training:
            self._last_alpha = alpha
            for name, rows in self._term_sums(inputs, outputs).items():
                self._sums[name] = self._sums.get(name, 0) + rows.sum(dim=0)
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    # ---- checkpoints ----

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """As the parent's, but an interruption leaves no half-written file."""
        output_dir = output_dir if output_dir is not None else self.args.output_dir
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        table, model.calibration = getattr(model, "calibration", None), None
        try:
            with staged_folder(output_dir, writer=self.args.should_save) as staging:
                super()._save(staging, state_dict)
        finally:
            model.calibration = table
        # Not through the staging folder: the table is merged into a file that may hold others.
        if table is not None and self.args.should_save:
            table.save(output_dir, key=weights_file_name())

    # ---- logs ----

    def _term_sums(self, inputs: dict[str, torch.Tensor], outputs) -> dict[str, torch.Tensor]:
        """Numerator and denominator (B, 2) of every logged mean, row by row."""
        real, judged, filled = self._count_terms(inputs).unbind(dim=-1)

        def pair(values: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
            return torch.stack([values.detach().float().sum(dim=-1), count], dim=-1)

        sums = {"lm_loss": pair(outputs["lm_token_loss"], real)}
        if outputs.get("critic_token_loss") is not None:
            valid, target = outputs["critic_valid"], outputs["critic_target"]
            right = ((outputs["critic_input_logits"].detach() > 0) == (target > 0.5)) & valid
            sums["critic_loss"] = pair(outputs["critic_token_loss"], judged)
            sums["critic_accuracy"] = pair(right, judged)
            sums["error_rate"] = pair(target * valid, judged)
        if outputs.get("correction_token_loss") is not None:
            sums["correction_loss"] = pair(outputs["correction_token_loss"], filled)
        return sums

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the loss's terms, critic_accuracy, error_rate and the last step's critic_alpha to training logs."""
        if "loss" in logs and self._sums:
            for name in sorted(self._sums):
                total, count = self.accelerator.gather(self._sums[name][None]).sum(dim=0).tolist()
                logs[name] = total / max(count, 1.0)
            self._sums.clear()
            if self._config.add_critic_head:
                logs["critic_alpha"] = self._last_alpha
        elif "train_loss" in logs:
            self._sums.clear()
        super().log(logs, start_time)

    def evaluation_loop(
        self,
        dataloader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """
        Means over the whole evaluation set, as sums of numerators and denominators: the same numbers on any number of
        processes and for any batch size. `lm_loss` is the diffusion bound in nats a token. With `compute_metrics` the
        parent's loop runs, which gathers logits.
        """
        if self.compute_metrics is not None:
            return super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        model = self._wrap_model(self.model, training=False)
        if len(self.accelerator._models) == 0 and model is self.model:
            # Evaluation before any training: autocast and compilation as in training.
            model = self.accelerator.prepare_model(model, evaluation_mode=True)
        model.eval()
        self.callback_handler.eval_dataloader = dataloader
        sums: dict[str, torch.Tensor] = {}
        num_samples = 0
        for batch in dataloader:
            batch = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                rows = self._term_sums(batch, model(**batch))
            rows = {name: self.accelerator.gather_for_metrics(row) for name, row in rows.items()}
            num_samples += len(rows["lm_loss"])
            for name, row in rows.items():
                sums[name] = sums.get(name, 0) + row.double().sum(dim=0)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        means = {name: float(pair[0] / pair[1].clamp(min=1)) for name, pair in sums.items()}
        config = self._config
        loss = means["lm_loss"]
        if "critic_loss" in means:
            loss += config.critic_alpha * means["critic_loss"]
        loss += config.correction_alpha * means.get("correction_loss", 0.0)
        means = {"loss": loss, **means, "bits_per_token": means["lm_loss"] / math.log(2)}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=num_samples)
