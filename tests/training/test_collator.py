"""Claims about the collator of masked diffusion."""

import copy
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.tasks import build_character_tokenizer
from critic_gpt.training.collator import logger as collator_logger
from critic_gpt.training.data import IdentifiedExamples


LETTERS = build_character_tokenizer("abcdefgh", model_max_length=32)
PAD, MASK = LETTERS.pad_token_id, LETTERS.mask_token_id
REGIMES = ("full", "partial", "mixed")

rows_strategy = st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=12), min_size=1, max_size=6)


def left_padding():
    tokenizer = copy.deepcopy(LETTERS)
    tokenizer.padding_side = "left"
    return tokenizer


LEFT = left_padding()


def without(name):
    tokenizer = copy.deepcopy(LETTERS)
    setattr(tokenizer, name, None)
    return tokenizer


def examples_of(rows, first_id=0, epoch=0):
    return [{"input_ids": row, "example_id": first_id + i, "epoch": epoch} for i, row in enumerate(rows)]


def random_rows(num, length, seed=0):
    return torch.randint(2, 10, (num, length), generator=torch.Generator().manual_seed(seed)).tolist()


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


@pytest.mark.parametrize("evaluation", [False, True])
def test_worker_processes_give_the_same_batches(evaluation):
    examples = IdentifiedExamples([{"input_ids": row} for row in random_rows(12, 7)])
    collator = DataCollatorForMaskedDiffusion(LETTERS, evaluation=evaluation)
    here = list(DataLoader(examples, batch_size=4, collate_fn=collator))
    there = list(DataLoader(examples, batch_size=4, collate_fn=collator, num_workers=2))
    for one, other in zip(here, there, strict=True):
        assert_same(one, other)


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


@pytest.mark.parametrize("change", [{"epoch": 1}, {"first_id": 100}])
def test_another_epoch_or_id_gives_other_draws(change):
    collator, rows = DataCollatorForMaskedDiffusion(LETTERS), random_rows(4, 20)
    one, other = collator(examples_of(rows)), collator(examples_of(rows, **change))
    assert not torch.equal(one["labels"], other["labels"])
    assert not (one["fill_uniforms"] == other["fill_uniforms"]).any()


def test_another_seed_gives_other_draws():
    rows = random_rows(4, 20)
    for evaluation in (False, True):
        one, other = (
            DataCollatorForMaskedDiffusion(LETTERS, seed=seed, evaluation=evaluation)(examples_of(rows))
            for seed in (0, 1)
        )
        assert not (one["fill_uniforms"] == other["fill_uniforms"]).any()


def test_training_rows_without_ids_are_drawn_from_the_global_generator():
    collator, examples = DataCollatorForMaskedDiffusion(LETTERS), [{"input_ids": row} for row in random_rows(3, 9)]
    torch.manual_seed(3)
    one, other = collator(examples), collator(examples)
    torch.manual_seed(3)
    assert_same(one, collator(examples))
    assert not torch.equal(one["fill_uniforms"], other["fill_uniforms"])


# ---- evaluation ----


@pytest.mark.parametrize("tokenizer", [LETTERS, LEFT], ids=["right", "left"])
@given(rows=rows_strategy, with_ids=st.booleans(), regime=st.sampled_from(REGIMES))
@settings(max_examples=40, deadline=None)
def test_an_evaluation_row_does_not_depend_on_its_batch(tokenizer, rows, with_ids, regime):
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=regime).for_evaluation()
    examples = examples_of(rows) if with_ids else [{"input_ids": row} for row in rows]
    together = collator(examples)
    wider = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=regime, evaluation=True, pad_to_multiple_of=32)
    for i, example in enumerate(examples):
        alone = tokens_of(collator([example]), 0)
        assert_same(tokens_of(together, i), alone)
        assert_same(tokens_of(wider([example]), 0), alone)


def test_evaluation_ignores_the_epoch_and_differs_from_training():
    rows = random_rows(4, 20)
    collator = DataCollatorForMaskedDiffusion(LETTERS)
    fixed = collator.for_evaluation()
    assert_same(fixed(examples_of(rows, epoch=0)), fixed(examples_of(rows, epoch=5)))
    assert not torch.equal(fixed(examples_of(rows))["labels"], collator(examples_of(rows))["labels"])
    assert not collator.evaluation


# ---- times and weights ----


@given(st.integers(1, 24), st.integers(0, 2**40), st.sampled_from([1e-3, 0.2]))
@settings(max_examples=60, deadline=None)
def test_training_times_are_one_for_each_cell_of_the_grid(batch_size, seed, min_mask_rate):
    collator = DataCollatorForMaskedDiffusion(LETTERS, seed=seed, min_mask_rate=min_mask_rate)
    seeds = collator._row_seeds(examples_of(random_rows(batch_size, 2)), torch.zeros(batch_size, 2))
    times = collator._times(seeds).double()
    assert ((times >= min_mask_rate - 1e-6) & (times <= 1)).all()
    places = (times - min_mask_rate) / (1 - min_mask_rate) * batch_size
    # Every place is the same fraction past the beginning of its cell.
    fraction = (places - places[0] + 0.5).remainder(1) - 0.5
    assert fraction.abs().max() < 1e-4
    assert sorted(((places - places.min()).round() % batch_size).tolist()) == list(range(batch_size))


def test_weights_are_one_over_the_time_at_the_masks_and_zero_elsewhere():
    rows = random_rows(16, 30)
    collator = DataCollatorForMaskedDiffusion(LETTERS)
    batch = collator(examples_of(rows))
    times = collator._times(collator._row_seeds(examples_of(rows), torch.tensor(rows)))
    masked = batch["input_ids"] == MASK
    assert torch.equal(batch["loss_weights"], torch.where(masked, 1 / times[:, None], 0.0))
    assert batch["loss_weights"].max() <= 1000


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
@given(rows=rows_strategy, regime=st.sampled_from(REGIMES), evaluation=st.booleans(), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_laws_of_a_batch(tokenizer, rows, regime, evaluation, seed):
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=regime, evaluation=evaluation, seed=seed)
    batch = collator(examples_of(rows))
    length = max(len(row) for row in rows)
    assert all(values.shape == (len(rows), length) for values in batch.values())
    masked = batch["input_ids"] == MASK
    assert torch.equal(batch["labels"] != -100, masked)
    assert (batch["loss_weights"] > 0).equal(masked)
    assert not (batch["fill_mask"] & ~masked).any()
    assert torch.equal(batch["fill_mask"].any(-1), masked.any(-1))
    if regime == "full":
        assert torch.equal(batch["fill_mask"], masked)
    assert not (masked & (batch["attention_mask"] == 0)).any()
    clean = torch.where(masked, batch["labels"], batch["input_ids"])
    for i, row in enumerate(rows):
        real = batch["attention_mask"][i].bool()
        assert clean[i][real].tolist() == row
        assert (clean[i][~real] == PAD).all()
        padding_first = tokenizer.padding_side == "left" and len(row) < length
        assert bool(real[0]) is not padding_first
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


def test_a_foreign_attention_mask_is_ignored_with_one_warning(warnings):
    collator, examples = DataCollatorForMaskedDiffusion(LETTERS), examples_of(random_rows(3, 6))
    expected = collator(examples)
    for example in examples[1:]:
        example["attention_mask"] = [1, 1, 1, 0, 1, 1]
    for _ in range(3):
        assert_same(expected, collator(examples))
    assert len(warnings.records) == 1
    assert "`attention_mask`" in warnings.text and "ignored" in warnings.text


def test_an_attention_mask_that_hides_padding_only_needs_no_warning(warnings):
    examples = [{"input_ids": [2, 3, PAD, PAD], "attention_mask": [1, 1, 0, 0], "example_id": 0}]
    batch = DataCollatorForMaskedDiffusion(LETTERS)(examples)
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0]]
    assert not warnings.records


# ---- errors ----


def one_sentence(error, field, *parts):
    text = str(error.value)
    assert text.startswith(f"`{field}`") and "\n" not in text and text.endswith(".")
    for part in ("must", "got", *parts):
        assert part in text


def test_a_tokenizer_without_a_mask_token_is_refused():
    with pytest.raises(ValueError) as error:
        DataCollatorForMaskedDiffusion(without("mask_token"))
    one_sentence(error, "tokenizer", "mask token", "add_special_tokens")


def test_a_padding_token_that_is_another_special_token_is_refused():
    both = without("pad_token")
    both.pad_token = both.mask_token
    with pytest.raises(ValueError) as error:
        DataCollatorForMaskedDiffusion(both)
    one_sentence(error, "tokenizer", "padding token of its own", "add_special_tokens")


def test_ragged_rows_need_a_padding_token_and_equal_rows_do_not():
    collator = DataCollatorForMaskedDiffusion(without("pad_token"))
    assert collator(examples_of([[2, 3], [4, 5]]))["attention_mask"].all()
    with pytest.raises(ValueError) as error:
        collator(examples_of([[2, 3], [4, 5, 6]]))
    one_sentence(error, "tokenizer", "padding token", "2 tokens to 3", "add_special_tokens")


@pytest.mark.parametrize("rows", [[[]], [[2, 3], []]])
def test_an_empty_row_is_refused(rows):
    with pytest.raises(ValueError) as error:
        DataCollatorForMaskedDiffusion(LETTERS)(examples_of(rows))
    one_sentence(error, "input_ids", f"row {len(rows) - 1}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("critic_regime", "half"),
        ("min_mask_rate", 0.0),
        ("min_mask_rate", -0.1),
        ("min_mask_rate", 1.01),
        ("min_mask_rate", float("nan")),
        ("pad_to_multiple_of", 0),
        ("critic_fill_exponent", 0),
        ("critic_fill_exponent", float("inf")),
    ],
)
def test_a_field_out_of_range_is_refused(field, value):
    with pytest.raises(ValueError) as error:
        DataCollatorForMaskedDiffusion(LETTERS, **{field: value})
    one_sentence(error, field, str(value))


def test_a_protected_mask_of_another_length_is_refused():
    with pytest.raises(ValueError) as error:
        DataCollatorForMaskedDiffusion(LETTERS)([{"input_ids": [2, 3, 4], "protected_mask": [1, 0]}])
    one_sentence(error, "protected_mask", "3", "2")
