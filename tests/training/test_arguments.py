"""Claims about the arguments of training, the critic's warm-up and the examples' ids."""

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from sentences import one_sentence
from torch.utils.data import DataLoader

from critic_gpt import CriticTrainingArguments
from critic_gpt.training.arguments import critic_alpha_at
from critic_gpt.training.data import IdentifiedExamples


# ---- warm-up ----


@pytest.mark.parametrize(
    ("step", "alpha"), [(0, 0.0), (1000, 0.0), (1500, 0.125), (2000, 0.25), (3000, 0.5), (9000, 0.5)]
)
def test_alpha_rises_linearly_between_start_and_end(step, alpha):
    assert critic_alpha_at(step, 0.5, start=1000, end=3000) == alpha


@given(st.integers(0, 10**6), st.floats(0, 10), st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_end_not_after_the_start_means_a_constant_alpha(step, alpha, start, back):
    assert critic_alpha_at(step, alpha, start, start - back) == alpha


@given(st.integers(0, 10**4), st.floats(0, 10), st.integers(0, 10**4), st.integers(1, 10**4))
def test_alpha_never_falls_and_stays_in_range(step, alpha, start, length):
    now, later = (critic_alpha_at(s, alpha, start, start + length) for s in (step, step + 1))
    assert 0 <= now <= later <= alpha


# ---- arguments ----


def test_declared_defaults(tmp_path):
    args = CriticTrainingArguments(output_dir=str(tmp_path))
    declared = {
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 25,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.01,
        "critic_warmup_start": 0,
        "critic_warmup_end": 0,
        "min_mask_rate": 1e-3,
        "masking": None,
        "critic_batch_share": 1.0,
        "joint_batch_share": 1.0,
        "peak_tflops": None,
        "muon_learning_rate": None,
        "ema_decay": 0.0,
    }
    assert {name: getattr(args, name) for name in declared} == declared


def test_data_are_drawn_by_their_own_seed_where_there_is_one(tmp_path):
    seeds = [{"seed": 5}, {"seed": 5, "data_seed": 7}, {"seed": 5, "data_seed": 0}]
    drawn = [CriticTrainingArguments(output_dir=str(tmp_path), **given).sampling_seed for given in seeds]
    assert drawn == [5, 7, 0]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("critic_warmup_start", [-1]),
        ("critic_warmup_end", [-5]),
        ("min_mask_rate", [0.0, 1.5]),
        ("remove_unused_columns", [True]),
        ("masking", ["berd"]),
        ("critic_batch_share", [0.0, 1.5, float("nan")]),
        ("joint_batch_share", [0.0, 1.5, float("nan")]),
        ("peak_tflops", [-1.0, float("inf"), float("nan")]),
        ("muon_learning_rate", [0.0, float("inf")]),
        ("ema_decay", [1.0, -0.5]),
    ],
)
def test_an_argument_out_of_range_is_refused(tmp_path, field, values):
    for value in values:
        with one_sentence(f"got {value!r}", begins=f"`{field}` must be"):
            CriticTrainingArguments(output_dir=str(tmp_path), **{field: value})


# ---- ids and epochs ----

ROWS = [{"input_ids": [i, i + 1]} for i in range(6)]


@pytest.mark.parametrize("dataset", [ROWS, Dataset.from_list(ROWS)], ids=["list", "datasets"])
def test_examples_carry_their_index_and_the_epoch(dataset):
    examples = IdentifiedExamples(dataset)
    assert len(examples) == 6
    assert examples[4] == {"input_ids": [4, 5], "example_id": 4, "epoch": 0}
    examples.set_epoch(3)
    expected = [{"input_ids": [i, i + 1], "example_id": i, "epoch": 3} for i in (5, 0)]
    assert [examples[5], examples[0]] == expected
    assert examples.__getitems__([5, 0]) == expected
    assert set(ROWS[0]) == {"input_ids"}, "the dataset itself is left alone"


@pytest.mark.parametrize("persistent", [False, True])
def test_worker_processes_see_a_new_epoch(persistent):
    examples = IdentifiedExamples(ROWS)
    loader = DataLoader(
        examples,
        batch_size=2,
        num_workers=2,
        persistent_workers=persistent,
        collate_fn=lambda rows: [(row["example_id"], row["epoch"]) for row in rows],
    )
    for epoch in (0, 1, 5):
        examples.set_epoch(epoch)
        assert [pair for batch in loader for pair in batch] == [(i, epoch) for i in range(6)]


@pytest.mark.parametrize(("name", "value"), [("label_smoothing_factor", 0.1), ("bf16_full_eval", True)])
def test_inherited_arguments_without_effect_are_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"`{name}` has no effect on masked diffusion with a critic, got "):
        CriticTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **{name: value})


@pytest.mark.parametrize("optim", ["sgd", "adafactor"])
def test_muon_stands_beside_adamw_alone(tmp_path, optim):
    given = {"output_dir": str(tmp_path), "optim": optim, "use_cpu": True}
    with pytest.raises(
        ValueError, match=f"`optim` must be adamw_torch or adamw_torch_fused beside .* got '{optim}': "
    ):
        CriticTrainingArguments(muon_learning_rate=0.02, **given)
    assert CriticTrainingArguments(**given).optim == optim
