# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Lets a model fill held-out sequences and its critic judge them: the raw material of calibration and evaluation."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion
from critic_gpt.training.data import row_named


class JudgedFillings(NamedTuple):
    """
    What the critic said of the model's own fillings. The same on any number of processes.

    `critic_logits`, `critic_target` (1.0 = wrong) and `sequence_index` are arrays with one entry for each judged
    position, in the order of the sequences; `histogram` counts them; `lm_loss` is the diffusion bound in nats per
    token (the mean cross-entropy of the labels, if the collator gives no `loss_weights`), and `None` where there was
    no token to judge.
    """

    critic_logits: np.ndarray
    critic_target: np.ndarray
    sequence_index: np.ndarray
    histogram: CriticHistogram
    lm_loss: float | None


def shared_batches(num_sequences: int, size: int, accelerator: Accelerator) -> Iterator[tuple[int, range]]:
    """For each step the number of sequences all processes have then done, and this process's own, which may be none.

    Every process takes as many steps, so they may meet in each; no sequence is seen twice to even out the last step.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    share = -(-size // world)
    for start in range(0, num_sequences, size):
        end = min(start + size, num_sequences)
        yield end, range(min(start + rank * share, end), min(start + (rank + 1) * share, end))


def check_numbers(num_sequences: int, size: int, batch_size: int) -> None:
    """Refuses more sequences than the `size` of the split, or none, and batches of none."""
    if not 1 <= num_sequences <= size:
        raise ValueError(
            f"`num_sequences` must be between 1 and the {size} sequences of the split, got {num_sequences}: "
            "ask for fewer or prepare more."
        )
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}: give 1 or more.")


def judge_together(
    model,
    dataset,
    collator,
    num_sequences: int,
    batch_size: int,
    accelerator: Accelerator | None,
    on_step: Callable[[int, CriticHistogram], None] | None,
    dtypes: Mapping[str, type],
    judge: Callable[[dict[str, torch.Tensor], range], Iterator[dict[str, torch.Tensor]]],
) -> tuple[dict[str, np.ndarray], CriticHistogram]:
    """
    Judges held-out sequences batch by batch, on all processes together.

    Args:
        model ([`CriticGPTForMaskedLM`]): Put into eval mode.
        dataset, num_sequences, batch_size, accelerator, on_step: As for [`judge_fillings`].
        collator: Makes a batch of sequences, each of which it knows by its number.
        dtypes (`dict`): Columns of the result by name, with `critic_logits`, `critic_target` and `sequence_index`.
        judge (callable): Called with a batch and the numbers of its sequences. Yields these columns, any number of
            times, each of shape `(judged,)`.

    Returns:
        `tuple`: the columns of all processes, in the order of the sequences and, within one, as they were judged; and
        the histogram that counts them.
    """
    check_numbers(num_sequences, len(dataset), batch_size)
    accelerator = accelerator or Accelerator()
    model.eval()
    columns = {name: [np.empty(0, dtype)] for name, dtype in dtypes.items()}
    histogram = CriticHistogram()
    for done, own in shared_batches(num_sequences, batch_size, accelerator):
        part = CriticHistogram()
        if len(own):
            batch = collator([row_named(dataset[i], i) for i in own])
            for judged in judge({name: value.to(model.device) for name, value in batch.items()}, own):
                part.update(judged["critic_logits"], judged["critic_target"])
                for name, column in columns.items():
                    column.append(judged[name].cpu().numpy())
        _count_together(histogram, part, accelerator)
        if on_step is not None:
            on_step(done, histogram)
    return _gather_by_sequence(columns), histogram


def _count_together(histogram: CriticHistogram, part: CriticHistogram, accelerator: Accelerator) -> None:
    """Adds what every process has counted in a step to the histogram of all."""
    counts = torch.stack([part.counts, part.positives]).to(accelerator.device)
    counts = accelerator.reduce(counts, reduction="sum").cpu()
    histogram.merge(CriticHistogram(counts[0], counts[1]))


def _gather_by_sequence(columns: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    """
    Puts together what all processes have judged, in the order of the column `sequence_index`; what one sequence has
    stays in the order in which it was judged. Of every column there is at least one array, if only an empty one.
    """
    parts = gather_object([{name: np.concatenate(column) for name, column in columns.items()}])
    merged = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    order = np.argsort(merged["sequence_index"], kind="stable")
    return {name: column[order] for name, column in merged.items()}


def _mean_loss(losses: list[tuple[int, float, int, int]]) -> float | None:
    """
    Of all processes; exact sums over the sequences, so that neither batches nor processes change a digit. `None` where
    no token had to be predicted.
    """
    _, loss, count, supervised = zip(*(row for part in gather_object([losses]) for row in part), strict=True)
    return math.fsum(loss) / sum(count) if sum(supervised) else None


def _losses(own: range, batch: dict[str, torch.Tensor], token_loss: torch.Tensor) -> list[tuple[int, float, int, int]]:
    """Number, summed loss, count of tokens as `forward` divides by it, and supervised ones of each sequence."""
    supervised = batch["labels"] != -100
    real = batch["attention_mask"] if "loss_weights" in batch else supervised
    sums = token_loss.cpu().double().sum(dim=-1)  # on the CPU: not every device has float64
    return list(zip(own, sums.tolist(), real.sum(dim=-1).tolist(), supervised.sum(dim=-1).tolist(), strict=True))


@torch.no_grad()
def judge_fillings(
    model,
    dataset,
    collator: DataCollatorForMaskedDiffusion | CollatorForCorruptedRows,
    num_sequences: int,
    batch_size: int = 64,
    accelerator: Accelerator | None = None,
    on_step: Callable[[int, CriticHistogram], None] | None = None,
) -> JudgedFillings:
    """
    Corrupts the first `num_sequences` sequences as in evaluation, lets the model fill them and the critic judge.

    The path is that of training: one call of `forward` with labels runs both passes on the same artifacts.

    Args:
        model ([`CriticGPTForMaskedLM`]): Put into eval mode. Without a critic head only `lm_loss` has content.
        dataset: Map-style, with the columns that the collator knows.
        collator ([`DataCollatorForMaskedDiffusion`] or [`CollatorForCorruptedRows`]): Its evaluation form is used.
        num_sequences (`int`): Exactly so many sequences in total, over all processes.
        batch_size (`int`, *optional*, defaults to 64): Sequences a step, over all processes.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes.
        on_step (callable, *optional*): Called on every process after each step with the number of sequences done and
            the histogram of all processes.

    Returns:
        [`JudgedFillings`].

    Raises:
        `ValueError`: Fewer sequences than asked for, or a batch of none.
    """
    losses = []

    def judge(batch: dict[str, torch.Tensor], own: range) -> Iterator[dict[str, torch.Tensor]]:
        output = model(**batch)
        losses.extend(_losses(own, batch, output.lm_token_loss))
        if output.critic_valid is not None:
            valid = output.critic_valid
            yield {
                "critic_logits": output.critic_input_logits[valid].float(),
                "critic_target": output.critic_target[valid],
                "sequence_index": torch.tensor(list(own))[:, None].expand(valid.shape)[valid.cpu()],
            }

    dtypes = {"critic_logits": np.float32, "critic_target": np.float32, "sequence_index": np.int64}
    columns, histogram = judge_together(
        model, dataset, collator.for_evaluation(), num_sequences, batch_size, accelerator, on_step, dtypes, judge
    )
    return JudgedFillings(**columns, histogram=histogram, lm_loss=_mean_loss(losses))
