# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Results that several processes make: the same file, to the byte, for any number of them, and after any stop."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launching import launch

from critic_gpt.scripts import calibrate, evaluate, generate, proofread
from critic_gpt.scripts.json_lines import ResultLines
from critic_gpt.scripts.processes import Processes


class Member:
    """One of several, each a thread of this process, that meet as those of `Processes` do."""

    device = None

    def __init__(self, index, count, table, barrier):
        self.index, self.count, self.table, self.barrier = index, count, table, barrier
        self.is_main = index == 0

    def met(self, part):
        self.table[self.index] = part
        self.barrier.wait(30)
        parts = list(self.table)
        self.barrier.wait(30)
        return parts

    def from_main(self, make):
        return self.met(make() if self.is_main else None)[0]

    def gathered(self, part):
        return self.met(part)


def written(path, count, num_inputs, batch_size):
    """What `count` members write, each result with the batch it was made in."""
    table, barrier, done = [None] * count, threading.Barrier(count), []

    def work(index):
        def results_of(start, end):
            return [{"index": i, "batch": [start, end]} for i in range(start, end)]

        member = Member(index, count, table, barrier)
        done.append(ResultLines("results", path).write({}, range(num_inputs), batch_size, results_of, "texts", member))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(done)) == 1 and len(done) == count
    return path.read_bytes()


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=2),
    num_inputs=st.integers(0, 23),
    batch_size=st.integers(1, 6),
    data=st.data(),
)
def test_any_number_of_processes_writes_the_same_and_goes_on_where_others_stopped(
    tmp_path_factory, counts, num_inputs, batch_size, data
):
    folder = tmp_path_factory.mktemp("r")
    alone = written(folder / "alone.jsonl", 1, num_inputs, batch_size)
    assert [json.loads(line)["index"] for line in alone.splitlines()] == [*range(num_inputs)]
    assert written(folder / "many.jsonl", counts[0], num_inputs, batch_size) == alone
    kept = data.draw(st.integers(0, len(alone)))
    (folder / "many.jsonl").write_bytes(alone[:kept])
    assert written(folder / "many.jsonl", counts[1], num_inputs, batch_size) == alone


def test_one_process_meets_nobody_and_several_need_a_file_to_share(monkeypatch):
    alone = Processes()
    assert alone.is_main and alone.from_main(lambda: 3) == 3 and alone.gathered(b"a") == [b"a"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for act in (generate, proofread):
        with pytest.raises(ValueError, match=r"^`results` must be given where several processes work, got none for 2"):
            act.main(["--model", "nowhere"])


def test_processes_that_would_all_write_the_same_file_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets it, which does not say that CPUs are meant
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    for act in (generate, proofread):
        with pytest.raises(ValueError, match=r"^`num_processes` must be 1 where .* got 2, .*: set ACCELERATE_USE_CPU"):
            act.main(["--model", "nowhere", "--results", str(tmp_path / "r.jsonl")])
    for act in (calibrate, evaluate):
        with pytest.raises(ValueError, match=r"^`num_processes` must be 1 where .* got 2"):
            act.start_accelerator()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_finish_what_one_began(tiny_model, tokenizer, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = ["ab[MASK][MASK]e", {"prompt": "[MASK]a", "id": 7}, "xy[MASK]", "[MASK][MASK][MASK]", "q[MASK]"]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["--model", tmp_path / "model", "--prompts", tmp_path / "p.jsonl", "--num_samples", "2"]
    words = [*map(str, words), "--num_steps", "3", "--batch_size", "3", "--results"]
    generate.main([*words, str(tmp_path / "one.jsonl")])  # with a seed that is drawn, and kept
    whole = (tmp_path / "one.jsonl").read_bytes()
    (tmp_path / "two.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:4]) + b'{"inde')
    shutil.copy(tmp_path / "one.jsonl.settings.json", tmp_path / "two.jsonl.settings.json")
    script = Path(generate.__file__)
    (tmp_path / "printed").mkdir()
    printed, _ = launch([script, *words, tmp_path / "two.jsonl"], 2, tmp_path / "printed")
    assert (tmp_path / "two.jsonl").read_bytes() == whole
    assert printed.count("10 results in ") == 1 and "3 of them there before" in printed
    assert not [name for name in os.listdir(tmp_path) if name.startswith(("_", "."))]
