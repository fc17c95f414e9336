# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A Trainer for masked diffusion with a critic, exact whatever the accumulation and the number of processes."""

from collections import defaultdict
from typing import Any

import torch
from datasets import IterableDataset
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from critic_gpt.diffusion_critic_gpt import judged_positions
from critic_gpt.training.arguments import CriticTrainingArguments, critic_alpha_at
from critic_gpt.training.callbacks import DropCalibrationCallback
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion
from critic_gpt.training.data import IdentifiedExamples


# Normalisers of the three terms of the loss, in this order wherever they are counted.
TERMS = ("lm", "critic", "correction")


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
        for name in ("train_dataset", "eval_dataset"):
            if kwargs.get(name) is not None and hasattr(kwargs[name], "__len__") and len(kwargs[name]) == 0:
                raise ValueError(f"`{name}` must hold at least one example, got none: check the prepared data.")
        if data_collator is None:
            tokenizer = kwargs.get("processing_class")
            if tokenizer is None:
                raise ValueError(
                    "`processing_class` or `data_collator` must be given, got neither: pass the tokenizer."
                )
            data_collator = DataCollatorForMaskedDiffusion(
                tokenizer,
                critic_regime=model.config.critic_regime if model.config.add_critic_head else None,
                seed=args.data_seed if args.data_seed is not None else args.seed,
                min_mask_rate=args.min_mask_rate,
            )
        super().__init__(model=model, args=args, data_collator=data_collator, **kwargs)
        self.add_callback(DropCalibrationCallback())
        # Sums of numerators and denominators since the last log, kept on the device.
        self._sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(2, device=self.args.device))

    # ---- data ----

    def get_train_dataloader(self):
        """As the parent's, with an id and the epoch in every example."""
        dataset = self.train_dataset
        if not isinstance(dataset, (IdentifiedExamples, IterableDataset, torch.utils.data.IterableDataset)):
            self.train_dataset = IdentifiedExamples(dataset)
        return super().get_train_dataloader()

    def get_eval_dataloader(self, eval_dataset=None):
        """As the parent's, with the corruption of evaluation: the same at every call and on any number of ranks."""
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        if hasattr(dataset, "__len__") and not isinstance(dataset, IdentifiedExamples):
            dataset = IdentifiedExamples(dataset)
        training_collator = self.data_collator
        if hasattr(training_collator, "for_evaluation"):
            self.data_collator = training_collator.for_evaluation()
        try:
            return super().get_eval_dataloader(dataset)
        finally:
            self.data_collator = training_collator

    # ---- loss ----

    @property
    def _config(self):
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False).config

    def _count_terms(self, batch: dict[str, Any]) -> torch.Tensor:
        """Normalisers (B, 3) of each row: real tokens (labels without weights), judged positions, filled positions."""
        config, labels, input_ids = self._config, batch["labels"], batch["input_ids"]
        supervised = labels != -100
        if "loss_weights" not in batch:
            real = supervised
        else:
            real = batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(labels)
        masked = supervised if config.mask_token_id is None else input_ids == config.mask_token_id
        fill_mask = batch["fill_mask"] if batch.get("fill_mask") is not None else masked
        judged = judged_positions(
            input_ids, labels, fill_mask, masked, config.critic_target_scope, pad_token_id=config.pad_token_id
        )
        filled = fill_mask & supervised
        return torch.stack([part.sum(dim=-1) for part in (real, judged, filled)], dim=-1).float()

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | None:
        """Normalisers (3,) of the whole accumulated batch of all processes, counted before the first backward."""
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        counts = torch.stack([self._count_terms(batch).sum(dim=0) for batch in batch_samples]).sum(dim=0).to(device)
        return self.accelerator.gather(counts[None]).sum(dim=0).clamp(min=1)

    def critic_alpha(self) -> float:
        """Present weight of the critic's loss."""
        args = self.args
        start, end = getattr(args, "critic_warmup_start", 0), getattr(args, "critic_warmup_end", 0)
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
        tokens divided by its count over the accumulated batch of all processes. Multiplied by the number of
        processes, which the averaging of gradients takes out again.
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
            for name, rows in self._term_sums(inputs, outputs).items():
                self._sums[name] += rows.sum(dim=0)
        loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

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
        """Adds the terms of the loss, critic_accuracy, error_rate and critic_alpha to training logs."""
        if "loss" in logs and self._sums:
            for name in sorted(self._sums):
                total, count = self.accelerator.gather(self._sums[name][None]).sum(dim=0).tolist()
                logs[name] = total / max(count, 1.0)
            self._sums.clear()
            if self._config.add_critic_head:
                logs["critic_alpha"] = self.critic_alpha()
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
        model = self._wrap_model(self.model, training=False, dataloader=dataloader)
        model.eval()
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
        means = {"loss": loss, **means, "bits_per_token": means["lm_loss"] / 0.6931471805599453}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=num_samples)
