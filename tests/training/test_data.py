# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about identified examples and streams: the same batches on any number of workers and processes."""

from itertools import islice

import pytest
import torch
from launching import BEGINNING, launch
from streams import LETTERS, rows_of, sharded
from torch.utils.data import DataLoader

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.training.data import IdentifiedStream


class Plain(torch.utils.data.IterableDataset):
    """A stream that knows nothing of workers."""

    def __init__(self, num):
        self.num = num

    def __iter__(self):
        return iter(rows_of(self.num))


def batches_of(stream, num_workers=0, batch_size=4, limit=None):
    loader = DataLoader(
        stream, batch_size=batch_size, num_workers=num_workers, collate_fn=DataCollatorForMaskedDiffusion(LETTERS)
    )
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == limit:
            break
    return found


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_rows_are_numbered_in_the_order_of_the_source():
    rows = list(IdentifiedStream(sharded(10, 3), batch_size=4))
    assert [row["example_id"] for row in rows] == list(range(10))
    assert [row["input_ids"] for row in rows] == [row["input_ids"] for row in rows_of(10)]
    assert {row["epoch"] for row in rows} == {0}


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize("kind", ["plain", "sharded", "shuffled"])
def test_any_number_of_workers_gives_the_same_batches(kind, num_workers):
    def source():
        return Plain(22) if kind == "plain" else sharded(22, 4, shuffled=kind == "shuffled", ragged=True)

    here = batches_of(IdentifiedStream(source(), batch_size=4))
    there = batches_of(IdentifiedStream(source(), batch_size=4), num_workers)
    assert len(here) == 6
    assert_same(here, there)


def test_each_epoch_shuffles_anew_and_the_same_one_alike():
    stream = IdentifiedStream(sharded(40, 4, shuffled=True), batch_size=4)

    def order(epoch):
        stream.set_epoch(epoch)
        rows = list(stream)
        assert {row["epoch"] for row in rows} == {epoch}
        return [tuple(row["input_ids"]) for row in rows]

    first, second = order(0), order(1)
    assert first != second and sorted(first) == sorted(second)
    assert order(0) == first


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_repeated_stream_goes_on_with_the_next_epoch(num_workers):
    repeated = IdentifiedStream(sharded(12, 2, shuffled=True), batch_size=4, repeat=True)
    found = batches_of(repeated, num_workers, limit=9)
    once = IdentifiedStream(sharded(12, 2, shuffled=True), batch_size=4)
    expected = []
    for epoch in range(3):
        once.set_epoch(epoch)
        expected += batches_of(once)
    assert_same(found, expected)


def test_reading_moves_no_epoch_that_other_workers_see():
    # That of a `datasets.IterableDataset` lies in shared memory: a worker ahead would reorder what others begin.
    source = sharded(12, 2, shuffled=True)
    stream = IdentifiedStream(source, batch_size=4, repeat=True)
    assert [row["epoch"] for row in islice(stream, 30)][-1] == 2
    assert source.epoch == 0


@pytest.mark.parametrize("num_workers", [0, 3])
def test_ranks_share_each_block_and_have_equally_many_batches(num_workers):
    from accelerate.data_loader import IterableDatasetShard

    one = batches_of(IdentifiedStream(sharded(22, 4, ragged=True), batch_size=4))
    ranks = []
    for rank in range(2):
        stream = IdentifiedStream(sharded(22, 4, ragged=True), batch_size=4, num_processes=2)
        shard = IterableDatasetShard(stream, batch_size=4, num_processes=2, process_index=rank)
        ranks.append(batches_of(shard, num_workers))
    assert [len(batches) for batches in ranks] == [3, 3]
    together = [batch for pair in zip(*ranks, strict=True) for batch in pair]
    assert_same(together[:5], one[:5])


def test_the_last_block_of_several_ranks_begins_again_with_the_first_rows():
    ids = [row["example_id"] for row in IdentifiedStream(Plain(5), batch_size=2, num_processes=2)]
    assert ids == [0, 1, 2, 3, 4, 0, 1, 2]
    assert [row["example_id"] for row in IdentifiedStream(Plain(1), batch_size=2, num_processes=2)] == [0] * 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_skipping_batches_goes_on_where_the_stream_was_left(num_workers):
    from accelerate.data_loader import skip_first_batches

    def loader():
        stream = IdentifiedStream(sharded(12, 2, shuffled=True), batch_size=2, repeat=True)
        return DataLoader(
            stream, batch_size=2, num_workers=num_workers, collate_fn=DataCollatorForMaskedDiffusion(LETTERS)
        )

    whole = [batch for _, batch in zip(range(10), loader(), strict=False)]
    resumed = [batch for _, batch in zip(range(3), skip_first_batches(loader(), 7), strict=False)]
    assert_same(resumed, whole[7:])


@pytest.mark.parametrize(("field", "sizes"), [("batch_size", (0, 1)), ("num_processes", (2, 0))])
def test_sizes_below_one_are_refused(field, sizes):
    with pytest.raises(ValueError, match=f"`{field}` must be at least 1, got 0"):
        IdentifiedStream(Plain(3), *sizes)


def test_repeating_nothing_is_refused():
    with pytest.raises(ValueError, match="`dataset` must hold at least one example to repeat, got none"):
        list(IdentifiedStream(Plain(0), batch_size=2, repeat=True))


PROCESS = """
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader
from streams import LETTERS, sharded
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.training.data import IdentifiedStream

dispatch, workers = arguments[0] == "dispatch", int(arguments[1])
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=dispatch))
ranks = 1 if dispatch else accelerator.num_processes
stream = IdentifiedStream(sharded(24, 4, shuffled=True, ragged=not dispatch), 2, ranks)
collator = DataCollatorForMaskedDiffusion(LETTERS)
loader = accelerator.prepare(DataLoader(stream, batch_size=2, num_workers=workers, collate_fn=collator))
torch.save(list(loader), folder / f"found.{accelerator.process_index}")
accelerator.wait_for_everyone()
"""


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["dispatch", "shard"])
def test_two_processes_see_the_batches_of_one(tmp_path, kind, num_workers):
    (tmp_path / "run.py").write_text(BEGINNING + PROCESS)
    launch([tmp_path / "run.py", tmp_path, 2, kind, num_workers], 2, tmp_path)
    ranks = [torch.load(tmp_path / f"found.{rank}") for rank in range(2)]
    together = [batch for pair in zip(*ranks, strict=True) for batch in pair]
    one = batches_of(IdentifiedStream(sharded(24, 4, shuffled=True, ragged=kind == "shard"), 2), batch_size=2)
    assert_same(together, one)
