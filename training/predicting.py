# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Evaluation by sums over rows, with predictions and `compute_metrics` where they are asked for."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.trainer_utils import EvalLoopOutput

from critic_gpt.training.trainer_mixin import TrainerMixin


@dataclass
class EvaluationSums:
    """
    What the metrics of an evaluation set are made of.

    Args:
        sums (`dict[str, torch.Tensor]`): Terms, summed over all rows.
        kept (`list[torch.Tensor]`): Values of each batch that are kept, on the CPU.
    """

    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    kept: list[torch.Tensor] = field(default_factory=list)

    def add(self, terms: dict[str, torch.Tensor], values: torch.Tensor | None, accelerator) -> None:
        """
        Adds a batch of all processes.

        Args:
            terms, values: As `_evaluation_rows` of a trainer gives them.
            accelerator ([`~accelerate.Accelerator`]): That of the trainer.
        """
        for name, rows in terms.items():
            rows = accelerator.gather_for_metrics(rows)
            self.sums[name] = self.sums.get(name, 0) + rows.double().sum(dim=0)
        if values is not None:
            # Rows of other processes may be longer; what is added says of itself that it does not count.
            values = accelerator.gather_for_metrics(accelerator.pad_across_processes(values, dim=1))
            self.kept.append(values[values[..., -1] != 0][:, :-1].cpu())


class _Seen:
    """A model that keeps the outputs of its last call."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.outputs: Any = None

    def __call__(self, **inputs):
        self.outputs = self.model(**inputs)
        return self.outputs


class Predictions(TrainerMixin):
    """
    Mixin of a [`~transformers.Trainer`] whose `_evaluation_rows` and `_evaluation_metrics` give the metrics of
    evaluation: they are the same with predictions as without.
    """

    # Of the evaluation with predictions that goes on.
    _evaluation: EvaluationSums | None = None

    def _predict_rows(
        self, dataloader, description: str, ignore_keys: list[str] | None, metric_key_prefix: str
    ) -> EvalLoopOutput:
        """
        The parent's loop, which gathers predictions and calls `compute_metrics`, with the metrics of this trainer. A
        name that `compute_metrics` gives as well is that of `compute_metrics`, but for the loss.
        """
        self._evaluation = EvaluationSums()
        try:
            # The parent's `evaluation_loop`, past that of this class.
            output = super().evaluation_loop(dataloader, description, False, ignore_keys, metric_key_prefix)
            kept = self._evaluation.kept
            own = self._evaluation_metrics(self._evaluation.sums, torch.cat(kept) if kept else None)
        finally:
            self._evaluation = None
        own = {f"{metric_key_prefix}_{name}": value for name, value in own.items()}
        loss = f"{metric_key_prefix}_loss"
        metrics = {name: value for name, value in {**own, **output.metrics}.items() if name != loss}
        return output._replace(metrics=metrics | ({loss: own[loss]} if loss in own else {}))

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, Any, torch.Tensor | None]:
        """As the parent's, in one pass with what the metrics are made of."""
        if self._evaluation is None:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        batch, seen = self._prepare_inputs(inputs), _Seen(model)
        if ignore_keys is None:
            ignore_keys = getattr(self._config, "keys_to_ignore_at_inference", [])
        with torch.no_grad(), self.compute_loss_context_manager():
            terms, values = self._evaluation_rows(seen, batch)
        self._evaluation.add(terms, values, self.accelerator)
        loss = seen.outputs.get("loss")
        logits = tuple(value for name, value in seen.outputs.items() if name not in [*ignore_keys, "loss"])
        logits = logits[0] if len(logits) == 1 else logits
        return None if loss is None else loss.detach().mean(), logits, batch.get("labels")
