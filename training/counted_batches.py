# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Batches that are counted before they are trained on, every row once, on any number of processes and workers."""

from itertools import islice
from typing import Any

import datasets
import torch

from critic_gpt.training.data import IdentifiedStream, innermost_sampler
from critic_gpt.training.trainer_mixin import TrainerMixin


# Marks a batch of which no row counts.
REPEATED = "is_repeated"


def is_stream(dataset) -> bool:
    """Whether a dataset can only be read from its beginning."""
    return isinstance(dataset, (datasets.IterableDataset, torch.utils.data.IterableDataset))


class CountedBatches(TrainerMixin):
    """
    Mixin of a [`~transformers.Trainer`]: how its batches come about, and what the losses of micro-batches are divided
    by. A subclass says what is counted (`_count`) and completes the batches before (`_completed`).
    """

    # Whether the present micro-batch holds nothing but rows that another process has.
    _is_repeated = False

    # ---- streams ----

    def _get_dataloader(self, dataset, description, batch_size, *args, is_training: bool = False, **kwargs):
        """
        As the parent's. A stream comes in the same batches on any number of workers and processes, and in training
        without an end, so that a resumed run skips what it has seen whatever the epoch. `dataloader_drop_last` is
        about training alone: an evaluation is of all rows. A stream that several processes evaluate must give rows of
        one length.
        """
        if not is_training and self.args.dataloader_drop_last:
            self.args.dataloader_drop_last = False
            try:
                return self._get_dataloader(dataset, description, batch_size, *args, **kwargs)
            finally:
                self.args.dataloader_drop_last = True
        if not is_stream(dataset) or isinstance(dataset, IdentifiedStream):
            return super()._get_dataloader(dataset, description, batch_size, *args, is_training=is_training, **kwargs)
        settings = self.accelerator.dataloader_config
        asked = settings.dispatch_batches
        if is_training and not asked:
            # Every process reads the stream and takes its part: rows may differ in length, which batches that one
            # process hands out may not.
            settings.dispatch_batches = False
            num_processes = 1 if settings.split_batches else self.accelerator.num_processes
            dataset = IdentifiedStream(dataset, batch_size, num_processes, repeat=True)
        else:
            dataset = IdentifiedStream(dataset, batch_size, repeat=is_training)
        try:
            return super()._get_dataloader(dataset, description, batch_size, *args, is_training=is_training, **kwargs)
        finally:
            settings.dispatch_batches = asked

    # ---- batches ----

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device):
        """
        As the parent's. Where an epoch does not come out even, several processes fill its last batches up with rows
        from its beginning: these are left out again, so that every row counts once an epoch on any number of them.
        """
        batches = list(islice(epoch_iterator, num_batches))
        if batches and self.accelerator.gradient_state.end_of_dataloader:
            batches[-1] = self._without_repeated_rows(batches[-1])
        batches = [self._completed(batch) for batch in batches]
        return batches, self._get_num_items_in_batch(batches, device)

    def _completed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch with all that has to be known of it before it is counted."""
        return batch

    def _without_repeated_rows(self, batch: dict[str, Any]) -> dict[str, Any]:
        settings, processes = self.accelerator.dataloader_config, self.accelerator.num_processes
        loader = self.accelerator.gradient_state.active_dataloader
        if processes == 1 or self.args.dataloader_drop_last or not settings.even_batches or is_stream(loader.dataset):
            return batch
        sampler = innermost_sampler(loader)
        left = len(sampler.sampler) % (sampler.batch_size * (1 if settings.split_batches else processes))
        size = len(batch["input_ids"])
        own = min(max(left - size * self.accelerator.process_index, 0), size) if left else size
        if own == size:
            return batch
        # A process without a row takes part with one that counts nothing, since the others wait for its gradient.
        batch = {
            name: values[: max(own, 1)] if isinstance(values, torch.Tensor) else values
            for name, values in batch.items()
        }
        return batch if own else {**batch, REPEATED: True}

    # ---- normalisers ----

    def _count(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Normalisers (K,) of the loss of a batch."""
        raise NotImplementedError

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | None:
        """Normalisers (K,) of the whole accumulated batch of all processes, counted before the first backward."""
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        counts = [self._count(batch) * (REPEATED not in batch) for batch in batch_samples]
        counts = torch.stack(counts).sum(dim=0).to(device)
        return self.accelerator.gather(counts[None]).sum(dim=0)

    def _part_of_whole(self, loss: torch.Tensor, num_items_in_batch: torch.Tensor | None) -> torch.Tensor:
        """
        A micro-batch's loss, divided by counts of the whole batch, as the averaging of gradients over processes wants
        it; without such counts as it is.
        """
        if num_items_in_batch is None:
            return loss
        return loss * (0.0 if self._is_repeated else self.accelerator.num_processes)

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """As the parent's."""
        self._is_repeated = inputs.pop(REPEATED, False)
        try:
            return super().training_step(model, inputs, num_items_in_batch)
        finally:
            self._is_repeated = False
