# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Trainers of the classification and scoring heads, exact whatever the accumulation and the number of processes."""

from dataclasses import fields
from typing import Any

import torch
from torch import nn

from critic_gpt.diffusion.losses import class_counts, mean_over_classes, token_classes, token_classification_losses
from critic_gpt.training.arguments import CriticTrainingArguments
from critic_gpt.training.base_trainer import ExactTrainer
from critic_gpt.training.head_collator import DataCollatorForHeads
from critic_gpt.training.head_metrics import classification_metrics, ranked_auroc, scoring_metrics
from critic_gpt.training.modifiers import RowLossBatch


# Fields of the arguments that mean something to the language model alone.
DIFFUSION_ARGUMENTS = (
    "critic_warmup_start",
    "critic_warmup_end",
    "critic_batch_share",
    "joint_batch_share",
    "min_mask_rate",
    "stratified_times",
    "masking",
)


class HeadTrainer(ExactTrainer):
    """What the two trainers below share: the model gives logits, and the loss is made of them here."""

    # The column of the data that holds the labels, where the collator is made here.
    column = "labels"

    def __init__(self, model=None, args: CriticTrainingArguments | None = None, data_collator=None, **kwargs):
        super().__init__(model, args, data_collator, **kwargs)
        num_labels, scores = self._config.num_labels, self.column == "score"
        if (num_labels == 1) is not scores:
            raise ValueError(
                f"`num_labels` of the model must be {'1' if scores else 'at least 2'} for {type(self).__name__}, got "
                f"{num_labels}: take {'ClassificationTrainer' if scores else 'ScoringTrainer'}, or another model."
            )

    def _check_own_arguments(self, args: CriticTrainingArguments, data_collator) -> None:
        """Refuses what has no effect without masks and without a critic."""
        defaults = {field.name: field.default for field in fields(args)}
        for name in DIFFUSION_ARGUMENTS:
            if getattr(args, name) != defaults[name]:
                raise ValueError(
                    f"`{name}` must be left out when a classification or scoring head is trained, got "
                    f"{getattr(args, name)}: it belongs to the language model."
                )

    def _default_collator(self, tokenizer) -> DataCollatorForHeads:
        return DataCollatorForHeads(tokenizer, self.column)

    def _logits(self, model: nn.Module, inputs: dict[str, Any]):
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs["logits"], outputs

    def _loss(
        self, model: nn.Module, logits: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, normalised by `counts`, and pairs for the logs of training."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """
        One micro-batch's part of the loss: a sum divided by its count over the accumulated batch of all processes
        (`num_items_in_batch`), times the number of processes, which the averaging of gradients takes out again.
        Without the counts: the mean over this micro-batch.
        """
        logits, outputs = self._logits(model, inputs)
        labels = inputs["labels"]
        counts = self._count(inputs) if num_items_in_batch is None else num_items_in_batch
        loss, pairs = self._loss(model, logits, labels, counts)
        if model.training:
            self._add_to_logs(pairs)
        loss = self._part_of_whole(loss, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


class ClassificationTrainer(HeadTrainer):
    """
    Trains a [`CriticGPTForTokenClassification`], or a [`CriticGPTForSequenceClassification`] with several classes.

    With `balanced_class_weights` in the model's configuration class c weighs `n / (C * count_c)`, counted over the
    whole accumulated batch of all processes. Evaluation gives `loss`, `accuracy`, `balanced_accuracy` (the mean share
    of recognised tokens over the classes that occur) and, of two classes, `auroc`.

    Args:
        model ([`CriticGPTForTokenClassification`] or [`CriticGPTForSequenceClassification`]): With `num_labels` >= 2.
        args ([`CriticTrainingArguments`]): Arguments; those of masks and of the critic are refused.
        data_collator (*optional*): [`DataCollatorForHeads`] by default, made from `processing_class`, for the column
            `labels` of token classes. For a class per sequence: `DataCollatorForHeads(tokenizer, "label")`.
        kwargs: As for [`~transformers.Trainer`].
    """

    def _aligned(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes of sequences are those of a single token."""
        return (logits[:, None], labels[:, None]) if logits.dim() == 2 else (logits, labels)

    def _count(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = batch["labels"]
        classes = token_classes(labels[:, None] if labels.dim() == 1 else labels)
        return class_counts(classes, self._config.num_labels).sum(dim=0)

    def _loss(self, model, logits, labels, counts):
        logits, labels = self._aligned(logits, labels)
        classes = token_classes(labels)
        balanced = self._config.balanced_class_weights
        loss = mean_over_classes(token_classification_losses(logits, labels), classes, counts, balanced)
        right = (logits.detach().argmax(dim=-1) == classes).sum()
        return loss, {"accuracy": torch.stack([right, (classes != -100).sum()]).float()}

    def _evaluation_rows(self, model, batch):
        logits, labels = self._aligned(self._logits(model, batch)[0], batch["labels"])
        classes, num_labels = token_classes(labels), logits.shape[-1]
        losses = token_classification_losses(logits, labels)
        sums = torch.zeros((len(losses), num_labels), device=losses.device, dtype=losses.dtype)
        right = classes.masked_fill(logits.argmax(dim=-1) != classes, -100)
        terms = {
            "losses": sums.scatter_add(1, classes.clamp(min=0), losses),
            "counts": class_counts(classes, num_labels),
            "right": class_counts(right, num_labels),
        }
        if num_labels != 2:
            return terms, None
        scores = logits.float()[..., 1] - logits.float()[..., 0]
        return terms, torch.stack([scores, classes.float(), (classes != -100).float()], dim=-1)

    def _evaluation_metrics(self, sums, kept):
        counts = sums["counts"]
        if not counts.any():
            return {}  # there is no mean of nothing
        classes = torch.arange(len(counts), device=counts.device)
        # The sum over a class stands for its tokens.
        loss = mean_over_classes(sums["losses"], classes, counts, self._config.balanced_class_weights)
        metrics = {"loss": float(loss), **classification_metrics(counts, sums["right"])}
        auroc = None if kept is None else ranked_auroc(kept[:, 0], kept[:, 1] == 1)
        return metrics if auroc is None else {**metrics, "auroc": auroc}


class ScoringTrainer(HeadTrainer):
    """
    Trains a [`CriticGPTForSequenceClassification`] with `num_labels=1`, whose scores lie in (0, 1), by mean squared
    error. Evaluation gives `loss`, `mse`, `mae` and, where scores and targets vary, `pearson`.

    Args:
        model ([`CriticGPTForSequenceClassification`]): With `num_labels=1`.
        args ([`CriticTrainingArguments`]): Arguments; those of masks and of the critic are refused.
        data_collator (*optional*): [`DataCollatorForHeads`] for the column `score` by default, made from
            `processing_class`.
        loss_modifiers ([`~training.modifiers.LossModifiers`], *optional*): Modify the loss of each sequence, in
            training alone.
        kwargs: As for [`~transformers.Trainer`].
    """

    column = "score"
    modified_task = "sequence_scoring"

    def _count(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.full((1,), float(len(batch["labels"])), device=batch["labels"].device)

    def _loss(self, model, logits, labels, counts):
        predictions = logits.squeeze(-1).float()
        row_loss = (predictions - labels).square()
        total = torch.tensor(float(len(labels)), device=labels.device)
        pairs = {"mae": torch.stack([(predictions.detach() - labels).abs().sum(), total])}
        modifiers = self._acting_modifiers(model)
        if modifiers is not None:
            # What is logged as `mse` stays the unmodified loss.
            pairs["mse"] = torch.stack([row_loss.detach().sum(), total])
            batch = RowLossBatch(row_loss, predictions, labels)
            row_loss, modified = modifiers.modify_row_loss(batch, self.state.global_step)
            pairs |= {name: torch.stack(pair) for name, pair in modified.items()}
        return row_loss.sum() / counts[0], pairs

    def _evaluation_rows(self, model, batch):
        predictions = self._logits(model, batch)[0].squeeze(-1).float()
        valid = torch.ones_like(predictions)
        return {}, torch.stack([predictions, batch["labels"], valid], dim=-1)[:, None]

    def _evaluation_metrics(self, sums, kept):
        metrics = scoring_metrics(kept[:, 0], kept[:, 1])
        return {"loss": metrics["mse"], **metrics}
