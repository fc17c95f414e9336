# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about correction by the critic, and about PRISM."""

import math

import pytest
import torch
from denoising_steps import (
    ADAPTIVE,
    MASK,
    RAMP,
    TABLE,
    M,
    P,
    canvas,
    generate,
    given,
    probabilities_of,
    replaced_in,
    same_steps,
)

from critic_gpt import CriticCalibration
from critic_gpt.generation.strategies.doubts import better_alternative, default_floor, likeliest_other


# ---- what the critic does with what it holds to be wrong ----


def test_a_share_of_a_draft_is_revised_from_the_first_step_on_and_nothing_masked_again_in_the_last(model):
    draft, free = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 3, 4, 12]]), torch.zeros(1, 10)
    for fields in ({"correction": "remask"}, {"correction": "replace"}, {"correction": "auto"}):
        fields |= {"remask_per_step": 0.3, "remask_floor": 0.0} if fields["correction"] != "replace" else {}
        history = generate(model, draft, protected_mask=free, remasking="critic", num_steps=4, **fields).history
        assert torch.equal(history[0].input_ids, draft) and not history[-1].remasked.any()
        if fields["correction"] == "replace":
            assert replaced_in(history[0]).any() and not history[0].remasked.any()
        else:
            assert [int(step.remasked.sum()) for step in history[:-1]] == [3, 3, 3]
    # Beside masks, what stands there at first was given.
    partly = torch.tensor([[5, 6, 7, M, M, M, M, M]])
    first = generate(model, partly, protected_mask=torch.zeros(1, 8), remasking="critic", num_steps=4).history[0]
    assert not first.remasked.any() and torch.equal(first.filled[:, :3], partly[:, :3])


def odds_of_another(model, step):
    """Log-odds (B, T) that the likeliest other token is right rather than the present one."""
    others = probabilities_of(model, step.input_ids).scatter(-1, step.input_ids[..., None], 0.0)
    return TABLE.error_log_odds(step.critic_logits) + (others.amax(-1) / others.sum(-1)).log()


def test_the_worst_are_those_for_which_another_token_is_likelier_right(model):
    with torch.no_grad():
        model.critic_head.weight.mul_(6)  # a critic with stronger opinions
    model.calibration = TABLE  # of these weights now
    output = generate(model, remasking="critic", remask_by="alternative", remask_per_step=2, num_steps=8)
    by_error = generate(model, remasking="critic", remask_by="error", remask_per_step=2, num_steps=8)
    remasked = 0
    for step in output.history[1:-1]:
        visible = (canvas == MASK) & (step.input_ids != MASK)
        odds = odds_of_another(model, step)
        least = odds.masked_fill(~step.remasked, float("inf")).amin(-1)
        spared = odds.masked_fill(~visible | step.remasked, float("-inf")).amax(-1)
        assert (least >= spared - 1e-5).all()
        remasked += int(step.remasked.sum())
    assert remasked > 8 and not same_steps(output.history, by_error.history)
    last = output.history[-1]
    likelier = (canvas == MASK) & (last.input_ids != MASK) & (odds_of_another(model, last) > 0)
    assert torch.equal(replaced_in(last), likelier) and likelier.any()
    assert torch.equal(generate(model, remasking="critic", remask_per_step=2, num_steps=8).sequences, output.sequences)


@pytest.mark.parametrize("by", ["alternative", "error"])
def test_tokens_that_are_probably_right_are_left_alone(model, by):
    fields = {"remasking": "critic", "remask_by": by, "remask_per_step": 3, "num_steps": 8, "schedule": "linear"}
    floor, seen = 0.4, []
    for number, step in enumerate(generate(model, remask_floor=floor, **fields).history[1:-1], start=1):
        visible = (canvas == MASK) & (step.input_ids != MASK)
        above = (visible & (step.error_probabilities > floor)).sum(-1)
        total = (canvas == MASK).sum(-1)
        assert (step.error_probabilities[step.remasked] > floor).all()
        assert torch.equal(step.remasked.sum(-1), above.clamp(max=3).minimum(total - total * (number + 1) // 8))
        seen += above.tolist()
    assert 0 in seen and max(seen) > 3
    for number, step in enumerate(generate(model, remask_floor=0.0, **fields).history[1:-1], start=1):
        visible, total = ((canvas == MASK) & (step.input_ids != MASK)).sum(-1), (canvas == MASK).sum(-1)
        assert torch.equal(step.remasked.sum(-1), visible.clamp(max=3).minimum(total - total * (number + 1) // 8))
    default = generate(model, **fields).sequences
    assert torch.equal(generate(model, remask_floor=0.1, **fields).sequences, default)


def test_the_floor_follows_from_the_table_of_trajectories():
    def table(**metadata):
        return CriticCalibration(RAMP, metadata)

    assert default_floor(TABLE) == default_floor(table(source="one_shot", positive_rate=0.4)) == 0.1
    rates = {0.01: 0.1, 0.07: 0.14, 0.3: 0.5}
    for rate, floor in rates.items():
        assert default_floor(table(source="trajectory", positive_rate=rate)) == pytest.approx(floor)


def test_the_floor_of_a_table_of_trajectories_is_the_default(model):
    fields = {"remasking": "critic", "remask_per_step": 3, "num_steps": 8, "schedule": "linear"}
    origin = {"source": "trajectory", "remasking": "critic", "positive_rate": 0.25}
    model.trajectory_calibration = CriticCalibration(RAMP, origin)
    assert same_steps(generate(model, **fields).history, generate(model, remask_floor=0.5, **fields).history)
    assert not same_steps(generate(model, **fields).history, generate(model, remask_floor=0.1, **fields).history)


def test_a_critic_that_promises_too_many_errors_is_put_right_by_its_table(model):
    fields = {"remasking": "critic", "remask_per_step": 3, "num_steps": 8, "schedule": "linear"}
    assert any(step.remasked.any() for step in generate(model, **fields).history)
    model.calibration = CriticCalibration([0.001 * bucket for bucket in range(100)])  # below the floor, all of them
    assert not any(step.remasked.any() for step in generate(model, **fields).history)


def test_where_no_other_token_is_possible_none_is_better():
    probabilities = torch.tensor([[[0.0, 0.0, 1.0, 0.0], [0.1, 0.2, 0.4, 0.3]]])
    alternative, _ = likeliest_other(probabilities, torch.tensor([[2, 2]]))
    assert alternative.tolist() == [[0.0, pytest.approx(0.5)]]
    odds = better_alternative(torch.tensor([[9.0, 0.0]]), alternative)
    assert odds[0, 0] < -50 and odds[0, 1].item() == pytest.approx(math.log(0.5))


def test_a_share_of_the_masks_is_masked_again_where_there_is_room(model):
    history = generate(model, remasking="critic", remask_per_step=0.3, num_steps=8, schedule="linear").history
    for number, step in enumerate(history[1:-1], start=1):
        masks = ((canvas == MASK) & (step.input_ids == MASK)).sum(-1)
        total = (canvas == MASK).sum(-1)
        left = total - (total * (number + 1) // 8)
        wanted = torch.tensor([max(1, math.floor(0.3 * count + 0.5)) for count in masks.tolist()])
        visible = total - masks
        assert torch.equal(step.remasked.sum(-1), torch.minimum(torch.minimum(wanted, left), visible))


@pytest.mark.parametrize(
    ("fields", "most", "threshold"),
    [({"remask_per_step": 1}, 1, 0.5), ({"remask_per_step": 3}, 3, 0.5), ({"error_threshold": 0.55}, 99, 0.55)],
)
def test_replacing_draws_another_token_where_one_is_held_to_be_wrong(model, fields, most, threshold):
    fields = {"remask_by": "error", "schedule": "quadratic", **fields}
    output = generate(model, remasking="critic", correction="replace", num_steps=8, **fields)
    seen = 0
    for number, step in enumerate(output.history):
        visible = (canvas == MASK) & (step.input_ids != MASK)
        wrong = visible & (step.error_probabilities > threshold)
        limit = 0 if number == 0 else 99 if number == 7 else most
        replaced = replaced_in(step)
        assert not step.remasked.any() and not (replaced & ~wrong).any(), "none but those above the threshold"
        assert torch.equal(replaced.sum(-1), wrong.sum(-1).clamp(max=limit)), "and another token each time"
        spared = step.error_probabilities.masked_fill(~wrong | replaced, 0).amax(-1)
        assert (step.error_probabilities.masked_fill(~replaced, 1).amin(-1) >= spared).all(), "the worst first"
        seen += int(replaced.sum())
    assert seen > 5 and output.forward_passes == 8
    # The schedule goes on as if nothing had happened.
    plain = generate(model, remasking="none", schedule="quadratic", num_steps=8).history
    for one, other in zip(output.history, plain, strict=True):
        assert torch.equal((one.input_ids == MASK).sum(-1), (other.input_ids == MASK).sum(-1))


def test_a_token_that_is_replaced_becomes_the_likeliest_other_one_at_temperature_zero(model):
    for step in generate(model, remasking="critic", correction="replace", num_steps=8, temperature=0).history:
        probabilities = probabilities_of(model, step.input_ids)
        others = probabilities.scatter(-1, step.input_ids[..., None], 0.0).argmax(-1)
        replaced = replaced_in(step)
        assert torch.equal(step.filled[replaced], others[replaced])


@pytest.mark.parametrize("correction", ["replace", "auto"])
def test_a_token_comes_again_where_no_other_is_possible(model, correction):
    def only_seven(input_ids, scores):
        return torch.full_like(scores, float("-inf")).index_fill(-1, torch.tensor([7]), 0.0)

    model.calibration = CriticCalibration([1.0] * 100)
    output = generate(model, remasking="critic", correction=correction, num_steps=4, logits_processor=[only_seven])
    assert (output.sequences[canvas == MASK] == 7).all()


def test_auto_masks_again_and_in_the_last_step_replaces_what_could_be_masked_no_more(model):
    fields = {"remasking": "critic", "num_steps": 7, "remask_by": "error"}
    auto = generate(model, correction="auto", **fields)
    remask = generate(model, correction="remask", **fields)
    assert same_steps(auto.history[:-1], remask.history[:-1])
    last, other = auto.history[-1], remask.history[-1]
    assert torch.equal(last.input_ids, other.input_ids) and not last.remasked.any()
    wrong = (canvas == MASK) & (last.input_ids != MASK) & (last.error_probabilities > 0.5)
    assert wrong.any() and torch.equal(replaced_in(last), wrong)
    assert torch.equal(auto.sequences[~wrong], remask.sequences[~wrong])
    assert torch.equal(generate(model, **fields).sequences, auto.sequences), "the default"


def test_a_threshold_of_errors_is_that_of_the_last_step_as_well(model):
    last = generate(model, remasking="critic", correction="auto", error_threshold=0.3, num_steps=5).history[-1]
    wrong = (canvas == MASK) & (last.input_ids != MASK) & (last.error_probabilities > 0.3)
    assert torch.equal(replaced_in(last), wrong) and (wrong & (last.error_probabilities <= 0.5)).any()


# ---- polishing ----

POLISHED = [
    {"correction": "remask"},
    {"correction": "replace"},
    {"correction": "auto"},
    {"correction": "auto", "error_threshold": 0.4},
    {"correction": "auto", "polish_threshold": 0.3},
    {"correction": "remask", "unmasking": "entropy_bound"},
]


@pytest.mark.parametrize("fields", POLISHED, ids=lambda fields: "-".join(map(str, fields.values())))
def test_polishing_ends_when_nothing_lies_above_the_threshold_or_the_budget_is_spent(model, fields):
    # Wrong is what the head holds to be so by more than a little.
    model.calibration = CriticCalibration([0.0] * 60 + [0.8] * 40)
    num_steps, polish_steps = 3, 12
    threshold = fields.get("polish_threshold", fields.get("error_threshold", 0.5))
    ids = torch.cat([canvas[::2], torch.tensor([[5, M, 6] + [P] * 9, [8, 9, M, M] + [P] * 8])])
    output = generate(model, ids, remasking="critic", num_steps=num_steps, polish_steps=polish_steps, **fields)
    assert not (output.sequences == MASK).any()
    most = num_steps + polish_steps
    assert output.forward_passes == output.row_passes.max() <= most and output.row_passes.min() < most
    ended = output.row_passes < most
    assert (output.error_probabilities[ended] <= threshold).all(), "nothing above it is left"
    for row, passes in enumerate(output.row_passes.tolist()):
        # Those that went on had something to do in every step but their last.
        for step in output.history[num_steps : passes - 1]:
            busy = (step.input_ids == MASK) | step.remasked | replaced_in(step)
            assert busy[row].any()
    assert len(set(output.row_passes.tolist())) > 1, "rows end one by one"


def test_until_it_begins_polishing_changes_nothing(model):
    for correction in ("remask", "replace", "auto"):
        fields = {"remasking": "critic", "correction": correction, "num_steps": 5}
        plain, polished = generate(model, **fields).history, generate(model, polish_steps=3, **fields).history
        assert len(plain) == 5 and same_steps(plain[:4], polished[:4])
        assert torch.equal(plain[4].input_ids, polished[4].input_ids)


def test_a_polishing_step_corrects_everything_above_the_threshold(model):
    history = generate(model, remasking="critic", correction="remask", num_steps=4, polish_steps=4).history
    for step in history[3:-1]:
        going = (canvas == MASK) & ~step.error_probabilities.isnan()
        wrong = going & (step.input_ids != MASK) & (step.error_probabilities > 0.5)
        assert torch.equal(step.remasked, wrong)
        assert not (step.filled[~step.remasked] == MASK).any(), "every mask is lifted at once"


# ---- ending early ----


@pytest.mark.parametrize("bound", [0.5, 2.0, 4.0, 100.0])
def test_a_sequence_ends_as_soon_as_few_enough_errors_are_expected(model, bound):
    """At temperature zero, where the tokens that its masks would get are known."""
    model.calibration = CriticCalibration([p**2 for p in RAMP])
    num_steps = 9
    output = generate(
        model, remasking="critic", num_steps=num_steps, temperature=0, stop_when_expected_errors_below=bound
    )
    ends, own = [num_steps] * len(canvas), torch.zeros(canvas.shape, dtype=torch.float64)
    for number, step in enumerate(output.history[: num_steps - 1]):
        probabilities, masked = probabilities_of(model, step.input_ids), step.input_ids == MASK
        likeliest = probabilities.max(-1)
        held = probabilities.gather(-1, step.filled[..., None]).squeeze(-1)
        going = torch.tensor(ends)[:, None] == num_steps
        own = torch.where(going & masked & (step.filled != MASK), held, own)
        for row in range(len(canvas)):
            if ends[row] < num_steps:
                continue
            expected = sum(
                1 - likeliest.values[row, i] if masked[row, i] else step.error_probabilities[row, i]
                for i in range(12)
                if not given[row, i]
            )
            if expected < bound:
                ends[row] = number + 1
                complete = torch.where(masked[row], likeliest.indices[row], step.input_ids[row])
                assert torch.equal(output.sequences[row], complete) and not step.remasked[row].any()
                number_of_row = own[row][~given[row]].log().mean()
                torch.testing.assert_close(output.self_log_probability[row], number_of_row)
    assert output.row_passes.tolist() == ends and output.forward_passes == max(ends)
    if bound == 100.0:
        assert ends == [1, 1, 1], "at once, if anything will do"


def test_a_bound_that_nobody_meets_changes_nothing(model):
    fields = {"remasking": "critic", "num_steps": 6}
    plain = generate(model, **fields)
    bounded = generate(model, stop_when_expected_errors_below=1e-9, **fields)
    assert torch.equal(plain.sequences, bounded.sequences) and bounded.row_passes.tolist() == [6] * 3


# ---- PRISM ----


@pytest.mark.parametrize("k", [0, 1, 4])
def test_prism_masks_the_k_tokens_again_that_the_critic_scores_worst(model, k):
    history = generate(model, torch.full((3, 20), M), remasking="prism", num_steps=10, remask_per_step=k).history
    for number, step in enumerate(history):
        visible = step.input_ids != MASK
        # Two more are visible after each step; what is masked again stands among the others.
        count = 0 if number in (0, 9) else min(k, 2 * number, 20 - 2 * (number + 1))
        assert (visible.sum(-1) == 2 * number).all() and (step.remasked.sum(-1) == count).all()
        assert torch.equal(step.filled[visible], step.input_ids[visible]), "nothing is redrawn"
        logits = model.critic_scores(step.input_ids)
        if 0 < count < 2 * number:
            worst = logits.masked_fill(~step.remasked, 99).amin(-1)
            assert (worst >= logits.masked_fill(~visible | step.remasked, -99).amax(-1) - 2.0**-20).all()


def test_prism_lifts_masks_at_random_whatever_the_model_thinks_of_them(model):
    num_rows = 2000
    ids = torch.tensor([[5, M, M, 6, M, M, M]]).expand(num_rows, -1)
    fields = {"remasking": "prism", "num_steps": 5, "remask_per_step": 1, "return_error_probabilities": False}
    for number, step in enumerate(generate(model, ids, **fields).history[:-1]):
        lifted = (step.input_ids == MASK) & (step.filled != MASK)
        count = lifted.sum(-1)
        assert (count == 1 + (0 < number < 4)).all()
        # Each mask of a row with equal probability: by position, and among those the model is surer of.
        masked = step.input_ids == MASK
        chance = torch.where(masked, count[:, None] / masked.sum(-1, keepdim=True), 0.0).double()
        confidence = probabilities_of(model, step.input_ids).amax(-1)
        surest = masked & (confidence == confidence.masked_fill(~masked, -1).amax(-1, keepdim=True))
        for where in (*(masked & (torch.arange(7) == i) for i in (1, 2, 4, 5, 6)), surest):
            expected, variance = chance[where].sum(), (chance * (1 - chance))[where].sum()
            # One position a row, so that draws are independent; z = 5: one false alarm in 1.7 million.
            assert abs(lifted[where].sum() - expected) <= 5 * variance.sqrt() + 1e-6


def test_prism_is_the_critic_with_the_settings_of_its_paper(model):
    prism = generate(model, remasking="prism", num_steps=6)
    settings = {"unmasking": "random", "schedule": "linear", "remask_per_step": 4, "correction": "remask"}
    critic = generate(model, remasking="critic", num_steps=6, **settings)
    assert torch.equal(prism.sequences, critic.sequences) and same_steps(prism.history, critic.history)


@pytest.mark.parametrize(("unmasking", "value"), ADAPTIVE)
def test_prism_takes_an_adaptive_order_too(model, unmasking, value):
    output = generate(model, remasking="prism", unmasking=unmasking, num_steps=6, **{unmasking: value})
    assert not (output.sequences == MASK).any() and any(step.remasked.any() for step in output.history)
