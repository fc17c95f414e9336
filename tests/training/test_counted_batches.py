# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about batches: every row counts once an epoch, and diffusion times may be drawn by row."""

from collections import Counter
from types import SimpleNamespace

import head_training
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from critic_training import LETTERS, make_model, make_rows, make_trainer
from torch.utils.data import BatchSampler

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.training.counted_batches import REPEATED, CountedBatches


class Counting(CountedBatches):
    """As a trainer that counts rows."""

    def _count(self, batch):
        return torch.tensor([len(batch["input_ids"])])


def rows_of_an_epoch(num_rows, batch_size, num_processes, split_batches, skipped):
    """What counts of each batch of each process."""
    counted = []
    for rank in range(num_processes):
        plain = BatchSampler(range(num_rows), batch_size, drop_last=False)
        sampler = BatchSamplerShard(plain, num_processes, rank, split_batches)
        sampler = SkipBatchSampler(sampler, skipped) if skipped else sampler
        loader = SimpleNamespace(dataset=range(num_rows), batch_sampler=sampler)
        trainer = Counting()
        trainer.args = SimpleNamespace(dataloader_drop_last=False)
        trainer.accelerator = SimpleNamespace(
            dataloader_config=SimpleNamespace(even_batches=True, split_batches=split_batches),
            num_processes=num_processes,
            process_index=rank,
            gradient_state=SimpleNamespace(active_dataloader=loader, end_of_dataloader=True),
            gather=lambda counts: counts,
        )
        batches = [{"input_ids": torch.tensor(batch), "labels": torch.tensor(batch)} for batch in sampler]
        batches, total = trainer.get_batch_samples(iter(batches), len(batches), torch.device("cpu"))
        counted.append([[] if REPEATED in batch else batch["input_ids"].tolist() for batch in batches])
        assert total.item() == sum(map(len, counted[-1]))
        assert all(len(batch["input_ids"]) > 0 for batch in batches)  # every process takes part in every step
    return counted


@pytest.mark.parametrize(("split_batches", "batch_size"), [(False, 1), (False, 4), (True, 12)])
@pytest.mark.parametrize("num_processes", [2, 3, 4])
def test_every_row_counts_once_an_epoch(num_processes, batch_size, split_batches):
    for num_rows in range(1, 40):
        counted = rows_of_an_epoch(num_rows, batch_size, num_processes, split_batches, skipped=0)
        assert len({len(batches) for batches in counted}) == 1
        assert Counter(row for batches in counted for batch in batches for row in batch) == Counter(range(num_rows))
        if len(counted[0]) > 1:  # the same at the end of a resumed epoch
            resumed = rows_of_an_epoch(num_rows, batch_size, num_processes, split_batches, skipped=1)
            assert resumed == [batches[1:] for batches in counted]


# ---- diffusion times ----


def test_without_the_grid_a_row_is_masked_alike_in_any_batch():
    examples = [{**row, "example_id": number, "epoch": 1} for number, row in enumerate(make_rows(6))]
    for stratified in (True, False):
        collator = DataCollatorForMaskedDiffusion(LETTERS, stratified_times=stratified)
        whole, parts = collator(examples), [collator(examples[:2]), collator(examples[2:])]
        alike = all(torch.equal(whole[name], torch.cat([part[name] for part in parts])) for name in whole)
        assert alike is not stratified
    assert DataCollatorForMaskedDiffusion(LETTERS).stratified_times


def test_the_argument_reaches_the_collator_and_is_refused_where_it_has_no_effect(tmp_path):
    trainer = make_trainer(tmp_path, make_model(), make_rows(2), stratified_times=False)
    assert trainer.data_collator.stratified_times is False
    with pytest.raises(ValueError, match="`stratified_times` must be left out beside `data_collator`, got False: "):
        make_trainer(tmp_path, make_model(), make_rows(2), evaluation=True, stratified_times=False)
    with pytest.raises(ValueError, match="`stratified_times` must be left out when a classification or scoring head"):
        head_training.make_trainer(tmp_path, "hard", head_training.make_rows(2), stratified_times=False)
