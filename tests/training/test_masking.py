# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about masking strategies, their mixtures, and their file."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masked_batches import LEFT, LETTERS, MASK, examples_of, random_rows, rows_strategy
from sentences import one_sentence

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.training.masking import Masking, Stage, load_masking
from critic_gpt.training.masking_strategies import (
    BertMasking,
    DiffusionMasking,
    RandomMasking,
    RowDraws,
    SpanMasking,
    StickyMasking,
)


IDS = torch.arange(2, 10)
OTHERS = ("random", "bert", "span", "sticky")


def draws_of(num, length, seed=0):
    return RowDraws(torch.arange(num) + 10_000 * seed, length)


def masks(strategy, num, length, seed=0):
    return strategy.mask(draws_of(num, length, seed), torch.ones(num, length, dtype=torch.bool), IDS)


def write(tmp_path, stages, name="masking.json"):
    path = tmp_path / name
    path.write_text(json.dumps({"stages": stages}))  # JSON is YAML too
    return str(path)


# ---- strategies ----


def test_random_masks_the_share_of_each_row_and_ratios_fill_their_range():
    num, length = 400, 200
    masked = masks(RandomMasking(ratio=0.3), num, length).masked
    z = (masked.float().mean() - 0.3) / math.sqrt(0.3 * 0.7 / (num * length))
    assert abs(z) < 4
    rates = masks(RandomMasking(min_ratio=0.2, max_ratio=0.6), num, length).masked.float().mean(-1)
    spread = 0.4 / math.sqrt(12)
    assert abs(rates.mean() - 0.4) < 4 * math.sqrt((spread**2 + 0.24 / length) / num)
    assert rates.min() < 0.25 and rates.max() > 0.55


def test_bert_chooses_15_percent_and_treats_them_80_10_10():
    num, length = 400, 250
    tokens = torch.full((num, length), 5)
    noise = masks(BertMasking(), num, length)
    chosen = noise.supervised.sum()
    assert abs(chosen / (num * length) - 0.15) < 4 * math.sqrt(0.15 * 0.85 / (num * length))
    replaced = noise.replacements >= 0
    kept = noise.supervised & ~noise.masked & ~replaced
    for part, share in ((noise.masked, 0.8), (replaced, 0.1), (kept, 0.1)):
        assert abs(part.sum() / chosen - share) < 4 * math.sqrt(share * (1 - share) / chosen)
        assert not (part & ~noise.supervised).any()
    # Every token but the special ones, evenly.
    counts = torch.bincount(noise.replacements[replaced], minlength=10)
    assert (counts[:2] == 0).all()
    expected = replaced.sum() / 8
    assert ((counts[2:] - expected).abs() < 4.5 * expected.sqrt()).all()
    assert not (noise.masked & replaced).any() and tokens.shape == noise.masked.shape


@given(
    st.sampled_from([SpanMasking, StickyMasking]), st.floats(0, 1), st.integers(1, 40), st.integers(0, 99), st.data()
)
@settings(max_examples=80, deadline=None)
def test_span_and_sticky_mask_exactly_the_share_rounded_up_of_what_may_be_masked(cls, ratio, length, seed, data):
    ratio = round(ratio, 2)
    bits = data.draw(st.lists(st.booleans(), min_size=3 * length, max_size=3 * length))
    maskable = torch.tensor(bits).view(3, length)
    masked = cls(ratio=ratio).mask(draws_of(3, length, seed), maskable, IDS).masked
    assert not (masked & ~maskable).any()
    exact = [math.ceil(round(ratio * 100) * int(count) / 100 - 1e-9) for count in maskable.sum(-1)]
    assert masked.sum(-1).tolist() == exact


@pytest.mark.parametrize("p", [1e-6, 0.01, 1.0])
def test_sticky_reaches_its_share_in_bounded_rounds_however_slowly_it_grows(p):
    masked = masks(StickyMasking(ratio=0.9, p1=p, p2=p), 4, 50).masked
    assert masked.sum(-1).tolist() == [45] * 4


def together(masked):
    """Share of the masks whose right neighbour is masked."""
    return (masked[:, :-1] & masked[:, 1:]).sum() / masked[:, :-1].sum()


def test_sticky_masks_stand_together_more_than_independent_ones():
    # Independent masks: a neighbour is masked with probability 0.3, standard error below 0.004 of some 15000 masks.
    plain = together(masks(StickyMasking(ratio=0.3, p1=0.1, p2=0.1), 500, 100).masked)
    sticky = together(masks(StickyMasking(ratio=0.3, p1=0.02, p2=0.5), 500, 100).masked)
    assert abs(plain - 0.3) < 0.02
    assert sticky > 0.6


def runs_of(masked):
    lengths = []
    for row in masked.tolist():
        run = 0
        for bit in [*row, False]:
            if not bit and run:
                lengths.append(run)
            run = run + 1 if bit else 0
    return torch.tensor(lengths, dtype=torch.float)


@pytest.mark.parametrize("mean", [1.0, 3.0, 6.0])
def test_spans_have_geometric_lengths_of_the_given_mean(mean):
    # So few that they hardly ever meet; one run a row is the last one and cut to 12 tokens in all.
    length = 4000
    runs = runs_of(masks(SpanMasking(ratio=12 * mean / length, mean_length=mean), 200, length).masked)
    # Variance of the geometric distribution; the cut and meetings move the mean by less than 6 %.
    error = math.sqrt(mean * (mean - 1) / len(runs))
    assert abs(runs.mean() - mean) < 4 * error + 0.06 * mean


def test_spans_end_at_what_may_not_be_masked():
    # Islands of two tokens between protected ones: with long runs each island is masked whole but for the last.
    maskable = (torch.arange(60) % 3 != 0).expand(50, 60)
    masked = SpanMasking(ratio=0.5, mean_length=50.0).mask(draws_of(50, 60), maskable, IDS).masked
    assert not (masked & ~maskable).any()
    pairs = masked.view(50, 20, 3)[:, :, 1:].sum(-1)
    # A run begins at the first or the second token of an island alike: never the first without the second but cut.
    first_alone = masked.view(50, 20, 3)[:, :, 1] & ~masked.view(50, 20, 3)[:, :, 2]
    assert (first_alone.sum(-1) <= 2).all() and (pairs.sum(-1) == 20).all()


# ---- through the collator ----


@pytest.mark.parametrize("masking", ["evaluation", *OTHERS])
@given(rows=rows_strategy, with_ids=st.booleans(), regime=st.sampled_from(["full", "partial", "mixed"]))
@settings(max_examples=30, deadline=None)
def test_a_row_is_masked_alike_in_any_batch_and_with_padding_on_either_side(masking, rows, with_ids, regime):
    evaluation, fields = masking == "evaluation", {"critic_regime": regime}
    fields |= {"evaluation": True} if evaluation else {"masking": masking}
    # Training rows without ids are drawn from the global generator.
    examples = examples_of(rows) if with_ids or not evaluation else [{"input_ids": row} for row in rows]
    batches = [
        DataCollatorForMaskedDiffusion(tokenizer, pad_to_multiple_of=multiple, **fields)(examples)
        for tokenizer, multiple in ((LETTERS, 1), (LEFT, 1), (LEFT, 16))
    ]
    for i, example in enumerate(examples):
        alone = DataCollatorForMaskedDiffusion(LETTERS, **fields)([example])
        for batch in batches:
            real = batch["attention_mask"][i].bool()
            for field in alone:
                assert torch.equal(batch[field][i][real], alone[field][0]), field


# What the four rows below have always been masked at, and the times that made it so.
KNOWN_MASKS = [
    [7],
    [1, 4, 10, 16],
    [1, 2, 4, 6, 7, 9, 10, 14, 15, 16, 17, 18],
    [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
]
KNOWN_TIMES = [0.0317645, 0.2815145, 0.5312645, 0.7810145]


@pytest.mark.parametrize("masking", [None, "diffusion"])
def test_diffusion_is_the_default_with_the_numbers_that_it_always_drew(masking):
    batch = DataCollatorForMaskedDiffusion(LETTERS, masking=masking, seed=5)(examples_of(random_rows(4, 20)))
    found = [row.nonzero().flatten().tolist() for row in batch["input_ids"] == MASK]
    assert found == KNOWN_MASKS
    assert (1 / batch["loss_weights"].amax(dim=-1)).tolist() == pytest.approx(KNOWN_TIMES, abs=1e-6)


def test_rows_of_other_strategies_weigh_as_much_as_their_maskable_tokens():
    mix = Masking((Stage(((RandomMasking(ratio=0.5), 0.5), (DiffusionMasking(), 0.5))),))
    rows = [row[: 5 + i] for i, row in enumerate(random_rows(10, 20))]
    batch = DataCollatorForMaskedDiffusion(LETTERS, masking=mix)(examples_of(rows))
    plain = DataCollatorForMaskedDiffusion(LETTERS)(examples_of(rows))
    same = (batch["labels"] == plain["labels"]).all(-1)
    assert 0 < same.sum() < len(rows)
    assert torch.equal(batch["loss_weights"][same], plain["loss_weights"][same])
    others = ~same & (batch["labels"] != -100).any(-1)
    assert torch.allclose(batch["loss_weights"].sum(-1)[others], batch["attention_mask"].sum(-1)[others].float())


# ---- mixtures and stages ----


def test_strategies_are_mixed_by_row_in_their_shares():
    mix = Masking((Stage(((RandomMasking(), 0.2), (BertMasking(), 0.5), (SpanMasking(), 0.3))),))
    num = 20_000
    chosen = mix.choose(draws_of(num, 4), torch.zeros(num, dtype=torch.int64))
    for index, share in enumerate((0.2, 0.5, 0.3)):
        z = ((chosen == index).float().mean() - share) / math.sqrt(share * (1 - share) / num)
        assert abs(z) < 4


def test_a_stage_ends_before_its_epoch_and_its_strategies_are_those_of_the_file(tmp_path):
    stages = [
        {"until_epoch": 2, "mix": [{"strategy": "random", "share": 1.0}]},
        {"until_epoch": 3, "mix": [{"strategy": "span", "share": 1.0}]},
        {"mix": [{"strategy": "diffusion", "share": 1.0}]},
    ]
    masking = load_masking(write(tmp_path, stages))
    chosen = masking.choose(draws_of(5, 4), torch.arange(5))
    names = [masking.strategies[index].name for index in chosen]
    assert names == ["random", "random", "span", "diffusion", "diffusion"]
    # Whether batches have weights is a matter of the configuration, not of the epoch.
    for epoch in (0, 3):
        batch = DataCollatorForMaskedDiffusion(LETTERS, masking=masking)(examples_of(random_rows(3, 9), epoch=epoch))
        assert "loss_weights" in batch


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_file_gives_the_stages_it_describes(tmp_path, suffix):
    stages = [
        {
            "until_epoch": 2,
            "mix": [
                {"strategy": "random", "share": 0.7, "min_ratio": 0.1, "max_ratio": 0.8},
                {"strategy": "sticky", "share": 0.3, "ratio": 0.5, "p1": 0.05, "p2": 0.3},
            ],
        },
        {"mix": [{"strategy": "diffusion", "share": 1.0}]},
    ]
    first = ((RandomMasking(min_ratio=0.1, max_ratio=0.8), 0.7), (StickyMasking(ratio=0.5, p1=0.05, p2=0.3), 0.3))
    expected = Masking((Stage(first, 2), Stage(((DiffusionMasking(), 1.0),))))
    assert load_masking(write(tmp_path, stages, f"masking.{suffix}")) == expected


MIX = {"strategy": "random", "share": 1.0}


@pytest.mark.parametrize(
    ("stages", "parts"),
    [
        ([{"mix": [{"strategy": "stiky", "share": 1.0}]}], ["`strategy`", "'stiky'", "write 'sticky'"]),
        ([{"mix": [{**MIX, "min_ration": 0.1}]}], ["`field of", "'min_ration'", "write 'min_ratio'"]),
        ([{"mixx": [MIX]}], ["'mixx'", "write 'mix'"]),
        ([{"mix": [{"strategy": "random"}]}], ["`share`", "add it"]),
        ([{"mix": [{"share": 1.0}]}], ["`strategy`", "add it"]),
        ([{"mix": [{**MIX, "share": 0.4}]}], ["`share`", "add up to 1"]),
        ([{"mix": [{**MIX, "share": "all"}]}], ["`share`", "above 0"]),
        ([{"mix": [{**MIX, "ratio": "half"}]}], ["`ratio`", "a number"]),
        ([{"mix": [{**MIX, "ratio": 1.5}]}], ["`ratio`", "[0, 1]", "1.5"]),
        ([{"mix": [{**MIX, "ratio": 0.5, "min_ratio": 0.2}]}], ["`ratio`", "alone"]),
        ([{"mix": [{**MIX, "min_ratio": 0.95}]}], ["`min_ratio`", "exchange"]),
        ([{"mix": [{"strategy": "sticky", "share": 1, "p1": 0}]}], ["`p1`", "(0, 1]"]),
        ([{"mix": [{"strategy": "span", "share": 1, "mean_length": 0.5}]}], ["`mean_length`", "at least 1"]),
        ([{"mix": [{"strategy": "bert", "share": 1, "mask_share": 0.95}]}], ["`mask_share`", "at most 1 together"]),
        ([{"mix": [MIX]}, {"mix": [MIX]}], ["`until_epoch`", "rise"]),
        ([{"mix": [MIX], "until_epoch": 2}], ["`until_epoch`", "missing in the last"]),
        ([{"mix": [MIX], "until_epoch": 0}, {"mix": [MIX]}], ["`until_epoch`", "at least 1"]),
        ([], ["`stages`", "at least one"]),
        ([{"mix": []}], ["`mix`", "at least one"]),
        ([3], ["`masking`", "named fields"]),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, stages, parts):
    with one_sentence("must", "got", *parts, begins="`"):
        load_masking(write(tmp_path, stages))


def test_unknown_names_and_missing_or_broken_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got 'sapn': write 'span'"):
        load_masking("sapn")
    with pytest.raises(ValueError, match="write 'random'"):
        DataCollatorForMaskedDiffusion(LETTERS, masking="randm")
    with pytest.raises(FileNotFoundError, match="`masking` must be a file that exists"):
        load_masking(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ValueError, match="must be a file that parses"):
        load_masking(str(broken))
