"""Claims about the collator of masked diffusion."""

import copy
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masked_batches import LEFT, LETTERS, MASK, PAD, examples_of, random_rows, rows_strategy
from sentences import one_sentence
from torch.utils.data import DataLoader

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.training.collator import logger as collator_logger
from critic_gpt.training.data import IdentifiedExamples
from critic_gpt.training.masking import Masking, Stage, load_masking
from critic_gpt.training.masking_strategies import BertMasking, DiffusionMasking, StickyMasking


REGIMES = ("full", "partial", "mixed", "sparse")
MIXTURE = ((DiffusionMasking(), 0.5), (BertMasking(rate=0.6), 0.25), (StickyMasking(), 0.25))
MASKINGS = [*map(load_masking, ("diffusion", "random", "bert", "span", "sticky")), Masking((Stage(MIXTURE),))]


def without(name):
    tokenizer = copy.deepcopy(LETTERS)
    setattr(tokenizer, name, None)
    return tokenizer


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def tokens_of(batch, row):
    """What a row holds without its padding, whatever the padding's length and side."""
    real = batch["attention_mask"][row].bool()
    return {name: values[row][real] for name, values in batch.items()}


# ---- without state ----


@given(rows_strategy, st.sampled_from(REGIMES), st.booleans(), st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_the_same_examples_give_the_same_batch_whatever_was_called_in_between(rows, regime, evaluation, seed):
    collator = DataCollatorForMaskedDiffusion(LETTERS, critic_regime=regime, evaluation=evaluation, seed=seed)
    first = collator(examples_of(rows))
    collator(examples_of(rows[:1], first_id=99))
    torch.rand(3)
    assert_same(first, collator(examples_of(rows)))


@pytest.mark.parametrize("masking", ["evaluation", "diffusion", "random", "bert", "span", "sticky"])
def test_worker_processes_give_the_same_batches_and_another_seed_gives_others(masking):
    evaluation = masking == "evaluation"
    fields = {"evaluation": evaluation, "masking": None if evaluation else masking}
    collator = DataCollatorForMaskedDiffusion(LETTERS, **fields)
    examples = IdentifiedExamples([{"input_ids": row} for row in random_rows(8, 9)])
    here = list(DataLoader(examples, batch_size=4, collate_fn=collator))
    there = list(DataLoader(examples, batch_size=4, collate_fn=collator, num_workers=2))
    for one, other in zip(here, there, strict=True):
        assert_same(one, other)
    long = examples_of(random_rows(4, 60))
    one, others = collator(long), [DataCollatorForMaskedDiffusion(LETTERS, seed=1, **fields)(long)]
    changes = [{"first_id": 100}] if evaluation else [{"first_id": 100}, {"epoch": 1}]
    others += [collator(examples_of(random_rows(4, 60), **change)) for change in changes]
    for other in others:
        assert not torch.equal(one["labels"], other["labels"])
        assert not (one["fill_uniforms"] == other["fill_uniforms"]).any()


@pytest.mark.parametrize("tokenizer", [LETTERS, LEFT], ids=["right", "left"])
def test_a_training_row_draws_the_same_numbers_in_any_batch_but_for_the_time(tokenizer):
    rows = [[2, 3, 4], [5, 6, 7, 8, 9], [3, 3, 3, 3, 3, 3, 3, 3]]
    # At a smallest rate of 1 every time is 1: what is left depends on the row alone.
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime="partial", min_mask_rate=1.0)
    together = collator(examples_of(rows))
    for i, row in enumerate(rows):
        alone = collator([{"input_ids": row, "example_id": i, "epoch": 0}])
        assert_same(tokens_of(together, i), tokens_of(alone, 0))


def test_a_row_is_masked_where_its_own_numbers_lie_below_its_time():
    collator = DataCollatorForMaskedDiffusion(LETTERS)
    rows = random_rows(6, 30)
    early = collator(examples_of(rows))["loss_weights"]
    # The same rows in reverse order exchange their places on the grid, hence times, but not their numbers:
    # the masks of the smaller time are among those of the larger one.
    late = collator(examples_of(rows)[::-1])["loss_weights"].flip(0)
    for one, other in zip(early, late, strict=True):
        small, large = (one, other) if one.max() > other.max() else (other, one)
        assert ((small == 0) | (large > 0)).all()


def test_the_exponent_changes_how_many_masks_are_filled_and_nothing_else():
    rows = examples_of(random_rows(300, 16))
    few, even, many = (
        DataCollatorForMaskedDiffusion(LETTERS, critic_regime="partial", critic_fill_exponent=exponent)(rows)
        for exponent in (3.0, 1.0, 1 / 3)
    )
    counts = [batch["fill_mask"].sum(dim=1) for batch in (few, even, many)]
    assert (counts[0] <= counts[1]).all() and (counts[1] <= counts[2]).all()
    masks = (even["input_ids"] == 1).sum(dim=1)
    shares = [(count.sum() / masks.sum()).item() for count in counts]
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.08)
    for batch in (few, many):
        assert_same({**batch, "fill_mask": 0 * few["fill_mask"]}, {**even, "fill_mask": 0 * few["fill_mask"]})
    assert_same(even, DataCollatorForMaskedDiffusion(LETTERS, critic_regime="partial")(rows))


def test_training_rows_without_ids_are_drawn_from_the_global_generator():
    collator, examples = DataCollatorForMaskedDiffusion(LETTERS), [{"input_ids": row} for row in random_rows(3, 9)]
    torch.manual_seed(3)
    one, other = collator(examples), collator(examples)
    torch.manual_seed(3)
    assert_same(one, collator(examples))
    assert not torch.equal(one["fill_uniforms"], other["fill_uniforms"])


# ---- evaluation ----


@pytest.mark.parametrize("masking", MASKINGS, ids=lambda one: "-".join(part.name for part in one.strategies))
def test_evaluation_is_diffusion_whatever_training_masks_by_ignores_the_epoch_and_differs_from_training(masking):
    rows = random_rows(4, 20)
    collator = DataCollatorForMaskedDiffusion(LETTERS, masking=masking)
    fixed, plain = collator.for_evaluation(), DataCollatorForMaskedDiffusion(LETTERS).for_evaluation()
    assert_same(fixed(examples_of(rows, epoch=0)), fixed(examples_of(rows, epoch=5)))
    assert_same(fixed(examples_of(rows)), plain(examples_of(rows)))
    assert not torch.equal(fixed(examples_of(rows))["labels"], collator(examples_of(rows))["labels"])
    assert not collator.evaluation


# ---- times and weights ----


@given(st.integers(1, 24), st.integers(0, 2**40), st.sampled_from([0.2, 0.6]))
@settings(max_examples=60, deadline=None)
def test_training_times_are_one_for_each_cell_of_the_grid(batch_size, seed, min_mask_rate):
    collator = DataCollatorForMaskedDiffusion(LETTERS, seed=seed, min_mask_rate=min_mask_rate)
    batch = collator(examples_of(random_rows(batch_size, 100)))
    weights, masked = batch["loss_weights"], batch["input_ids"] == MASK
    # Weights are one over the row's time at its masks, of which so many tokens have some, and zero elsewhere.
    times = 1 / weights.amax(dim=-1).double()
    torch.testing.assert_close(weights.double(), masked / times[:, None])
    assert ((times >= min_mask_rate - 1e-6) & (times <= 1)).all()
    places = (times - min_mask_rate) / (1 - min_mask_rate) * batch_size
    # Every place is the same fraction past the beginning of its cell.
    fraction = (places - places[0] + 0.5).remainder(1) - 0.5
    assert fraction.abs().max() < 1e-4
    assert sorted(((places - places.min()).round() % batch_size).tolist()) == list(range(batch_size))


@pytest.mark.parametrize("evaluation", [False, True])
def test_the_weights_of_a_token_are_one_on_average(evaluation):
    # Sum of 1/t over masks has mean 1 a token and, for a given t, variance (1 - t) / t.
    collator = DataCollatorForMaskedDiffusion(LETTERS, min_mask_rate=0.05, evaluation=evaluation)
    num, length = 4000, 25
    weights = collator(examples_of(random_rows(num, length)))["loss_weights"]
    variance = (torch.linspace(0.05, 1, 1001)).reciprocal().mean() - 1
    z = (weights.mean() - 1) / (variance / (num * length)).sqrt()
    assert abs(z) < 4
    rate = (weights > 0).float().mean()
    assert abs(rate - 0.525) < 0.02


# ---- labels, masks, filling ----


@pytest.mark.parametrize("tokenizer", [LETTERS, LEFT], ids=["right", "left"])
@given(
    rows=rows_strategy,
    masking=st.sampled_from(MASKINGS),
    regime=st.sampled_from(REGIMES),
    evaluation=st.booleans(),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
@settings(max_examples=120, deadline=None)
def test_laws_of_a_batch(tokenizer, rows, masking, regime, evaluation, seed, data):
    examples, length = examples_of(rows), max(map(len, rows))
    for example, row in zip(examples, rows, strict=True):
        example["protected_mask"] = data.draw(st.lists(st.integers(0, 1), min_size=len(row), max_size=len(row)))
    fields = {"critic_regime": regime, "evaluation": evaluation, "masking": masking}
    batch = DataCollatorForMaskedDiffusion(tokenizer, seed=seed, **fields)(examples)
    assert all(values.shape == (len(rows), length) for values in batch.values())
    masked, supervised = batch["input_ids"] == MASK, batch["labels"] != -100
    by_diffusion = evaluation or masking.is_diffusion
    assert torch.equal(masked, supervised) if by_diffusion else not (masked & ~supervised).any()
    assert ("loss_weights" in batch) == (evaluation or masking.has_weights)
    if "loss_weights" in batch:
        assert torch.equal(batch["loss_weights"] > 0, supervised)
    assert not (batch["fill_mask"] & ~masked).any()
    assert torch.equal(batch["fill_mask"].any(-1), masked.any(-1))
    assert regime != "full" or torch.equal(batch["fill_mask"], masked)
    clean = torch.where(supervised, batch["labels"], batch["input_ids"])
    for i, row in enumerate(rows):
        real = batch["attention_mask"][i].bool()
        assert clean[i][real].tolist() == row
        assert (batch["input_ids"][i][~real] == PAD).all() and not supervised[i][~real].any()
        assert bool(real[0]) is not (tokenizer is LEFT and len(row) < length)
        assert not supervised[i][real][torch.tensor(examples[i]["protected_mask"]).bool()].any()
    assert ((batch["fill_uniforms"] > 0) & (batch["fill_uniforms"] < 1)).all()


def test_without_a_regime_nothing_is_drawn_for_a_critic():
    examples = examples_of(random_rows(4, 9))
    plain = DataCollatorForMaskedDiffusion(LETTERS, critic_regime=None)(examples)
    assert set(plain) == {"input_ids", "attention_mask", "labels", "loss_weights"}
    with_critic = DataCollatorForMaskedDiffusion(LETTERS)(examples)
    assert set(with_critic) == {*plain, "fill_mask", "fill_uniforms"}
    assert_same(plain, {name: with_critic[name] for name in plain})


@pytest.mark.parametrize("tokenizer", [LETTERS, LEFT], ids=["right", "left"])
@given(rows=rows_strategy, data=st.data())
@settings(max_examples=40, deadline=None)
def test_protected_tokens_are_never_masked(tokenizer, rows, data):
    examples, protected = examples_of(rows), []
    for i, row in enumerate(rows):
        protected.append(data.draw(st.lists(st.integers(0, 1), min_size=len(row), max_size=len(row))))
        if i % 2 == 0:  # a row may also come without
            examples[i]["protected_mask"] = protected[-1]
    batch = DataCollatorForMaskedDiffusion(tokenizer, min_mask_rate=1.0)(examples)
    for i, row in enumerate(rows):
        masked = tokens_of(batch, i)["input_ids"] == MASK
        expected = [bit == 0 for bit in protected[i]] if i % 2 == 0 else [True] * len(row)
        assert masked.tolist() == expected


def test_a_mask_in_the_data_is_a_hole_without_a_truth():
    batch = DataCollatorForMaskedDiffusion(LETTERS, min_mask_rate=1.0)(examples_of([[2, MASK, 3]]))
    assert batch["input_ids"].tolist() == [[MASK] * 3]
    assert batch["labels"].tolist() == [[2, -100, 3]]
    assert not batch["fill_mask"][0, 1] and batch["loss_weights"][0, 1] == 0


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_length_is_rounded_up_to_a_multiple(multiple):
    batch = DataCollatorForMaskedDiffusion(LETTERS, pad_to_multiple_of=multiple)(examples_of([[2] * 5, [3] * 7]))
    assert batch["input_ids"].shape[1] == {1: 7, 4: 8, 8: 8}[multiple]
    assert batch["attention_mask"].sum(-1).tolist() == [5, 7]


def test_rows_may_be_tensors_or_arrays():
    rows = random_rows(3, 6)
    collator = DataCollatorForMaskedDiffusion(LETTERS)
    expected = collator(examples_of(rows))
    assert_same(expected, collator(examples_of([torch.tensor(row) for row in rows])))
    assert_same(expected, collator(examples_of([torch.tensor(row).numpy() for row in rows])))


# ---- the data's own attention mask ----


@pytest.fixture
def warnings(caplog):
    collator_logger.warning_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger=collator_logger.name):
        yield caplog


def test_a_foreign_attention_mask_is_ignored_with_one_warning_unless_it_hides_padding_only(warnings):
    collator, examples = DataCollatorForMaskedDiffusion(LETTERS), examples_of(random_rows(3, 6))
    padded = [{"input_ids": [2, 3, PAD, PAD], "attention_mask": [1, 1, 0, 0], "example_id": 0}]
    assert collator(padded)["attention_mask"].tolist() == [[1, 1, 0, 0]] and not warnings.records
    expected = collator(examples)
    for example in examples[1:]:
        example["attention_mask"] = [1, 1, 1, 0, 1, 1]
    for _ in range(3):
        assert_same(expected, collator(examples))
    assert len(warnings.records) == 1
    assert "`attention_mask`" in warnings.text and "ignored" in warnings.text


# ---- errors ----


def test_tokenizers_and_rows_that_make_no_batch_are_refused():
    with one_sentence("must", "got", "mask token", "add_special_tokens", begins="`tokenizer`"):
        DataCollatorForMaskedDiffusion(without("mask_token"))
    both = without("pad_token")
    both.pad_token = both.mask_token
    with one_sentence("must", "got", "padding token of its own", "add_special_tokens", begins="`tokenizer`"):
        DataCollatorForMaskedDiffusion(both)
    collator = DataCollatorForMaskedDiffusion(without("pad_token"))
    assert collator(examples_of([[2, 3], [4, 5]]))["attention_mask"].all()  # equal rows need no padding
    with one_sentence("must", "got", "padding token", "2 tokens to 3", "add_special_tokens", begins="`tokenizer`"):
        collator(examples_of([[2, 3], [4, 5, 6]]))
    for rows in ([[]], [[2, 3], []]):
        with one_sentence("must", "got", f"row {len(rows) - 1}", begins="`input_ids`"):
            DataCollatorForMaskedDiffusion(LETTERS)(examples_of(rows))
    with one_sentence("must", "got", "3", "2", begins="`protected_mask`"):
        DataCollatorForMaskedDiffusion(LETTERS)([{"input_ids": [2, 3, 4], "protected_mask": [1, 0]}])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("critic_regime", "half"),
        *(("min_mask_rate", value) for value in (0.0, -0.1, 1.01, float("nan"))),
        ("pad_to_multiple_of", 0),
        *(("critic_fill_exponent", value) for value in (0, float("inf"))),
    ],
)
def test_a_field_out_of_range_is_refused(field, value):
    with one_sentence("must", "got", str(value), begins=f"`{field}`"):
        DataCollatorForMaskedDiffusion(LETTERS, **{field: value})
