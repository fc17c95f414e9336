# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import pytest
import torch

from critic_gpt.diffusion.schedules import remask_ratios, reveal_shares, share_of
from critic_gpt.explorer import Explorer, fill, remask, reveal_truth, score, start_from_sample, start_from_text, unmask


MASK = 1


def generated(explorer, state, **options):
    ids = torch.tensor([state.input_ids])
    return explorer.model.generate(ids, seed=state.seed, return_history=True, **state.options, **options)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "randomness_strength": 0.3}, {"temperature": 0}])
@pytest.mark.parametrize("seed", [0, 7])
def test_by_hand_comes_out_what_generate_makes_step_by_step(explorer, options, seed):
    state = start_from_sample(explorer, 1, mask_rate=0.8, seed=seed, **options)
    output = generated(explorer, state, remasking="critic_full", num_steps=4)
    total = torch.tensor([sum(state.editable)])
    ratios = remask_ratios("linear", 4, 0.95, 0.05)
    for number, step in enumerate(output.history):
        assert list(state.input_ids) == step.input_ids[0].tolist()
        state = fill(explorer, state)
        assert list(state.input_ids) == step.filled[0].tolist()
        if number == 3:
            break
        state = score(explorer, state)
        assert torch.equal(torch.tensor([state.error_probabilities]), step.error_probabilities)
        state = remask(explorer, state, count=int(share_of(total, ratios[number + 1])))
        assert list(state.changed) == step.remasked[0].nonzero().flatten().tolist()
    assert list(state.input_ids) == output.sequences[0].tolist()
    assert state.forward_passes == output.forward_passes and state.step == 3


def test_unmasking_by_hand_comes_out_as_plain_generation(explorer):
    state = start_from_sample(explorer, 0, mask_rate=1.0, seed=3)
    output = generated(explorer, state, remasking="none", num_steps=4)
    total, before = torch.tensor([sum(state.editable)]), 0
    for share in reveal_shares("linear", 4):
        visible = int(share_of(total, share))
        state, before = unmask(explorer, state, visible - before), visible
    assert list(state.input_ids) == output.sequences[0].tolist()
    assert state.forward_passes == output.forward_passes == 4


def test_a_threshold_comes_out_as_the_adaptive_mode(explorer):
    state = start_from_sample(explorer, 2, mask_rate=1.0, seed=5)
    output = generated(explorer, state, remasking="critic_full", num_steps=2, error_threshold=0.4)
    state = remask(explorer, score(explorer, fill(explorer, state)), "threshold", threshold=0.4)
    assert list(state.changed) == output.history[0].remasked[0].nonzero().flatten().tolist() != []


def test_masking_at_random_takes_so_many_and_another_step_others(explorer):
    state = fill(explorer, start_from_sample(explorer, 0, mask_rate=1.0, seed=0))
    first = remask(explorer, state, "random", 6)
    assert len(first.changed) == 6 == first.input_ids.count(MASK) and first.forward_passes == 1
    assert remask(explorer, fill(explorer, first), "random", 6).changed != first.changed


def test_positions_are_chosen_by_hand(explorer):
    state = fill(explorer, start_from_sample(explorer, 0, mask_rate=1.0, seed=0))
    again = remask(explorer, state, "positions", positions=[2, 5])
    assert again.changed == (2, 5) and again.step == 1
    one = unmask(explorer, again, positions=[5])
    assert one.changed == (5,) and one.input_ids[2] == MASK
    for wrong in ([2], [24], [-1]):
        with pytest.raises(ValueError, match="`positions` must be visible, changeable"):
            remask(explorer, again, "positions", positions=wrong)
    with pytest.raises(ValueError, match="`positions` must be masked"):
        unmask(explorer, again, positions=[3])


def test_the_truth_can_be_put_where_tokens_may_change(explorer, rows):
    state = start_from_sample(explorer, 0, mask_rate=0.5)
    holes = [i for i, editable in enumerate(state.editable) if editable]
    known = reveal_truth(explorer, state, holes)
    assert list(known.input_ids) == rows[0]["input_ids"] and known.forward_passes == 0
    given = next(i for i, editable in enumerate(state.editable) if not editable)
    with pytest.raises(ValueError, match="`positions` must be known"):
        reveal_truth(explorer, state, [given])
    with pytest.raises(ValueError, match="must come from the data"):
        reveal_truth(explorer, start_from_text(explorer, "a[MASK]"), [1])


def test_given_tokens_never_change_unless_they_may_be_revised(explorer):
    text = "abc[MASK][MASK]"
    state = score(explorer, fill(explorer, start_from_text(explorer, text)))
    assert remask(explorer, state, count=9).changed == (3, 4)
    draft = score(explorer, fill(explorer, start_from_text(explorer, text, revise=True)))
    assert remask(explorer, draft, count=9).changed == (0, 1, 2, 3, 4)


def test_acts_leave_the_state_before_them_alone_and_a_verdict_does_not_outlive_its_tokens(explorer):
    first = start_from_sample(explorer, 0, mask_rate=1.0)
    before = (first.input_ids, first.step, first.forward_passes)
    scored = score(explorer, fill(explorer, first))
    state = remask(explorer, scored, count=2)
    assert before == (first.input_ids, first.step, first.forward_passes) and scored.error_probabilities is not None
    assert state.error_probabilities is None and state.critic_logits is None
    with pytest.raises(ValueError, match="`state` must be scored"):
        remask(explorer, state, count=2)


def test_a_model_without_a_critic_can_still_be_denoised(tiny_model, tokenizer, rows):
    explorer = Explorer(tiny_model(add_critic_head=False), tokenizer, {"validation": rows})
    state = remask(explorer, fill(explorer, start_from_sample(explorer, 0, mask_rate=1.0)), "random", 4)
    assert state.input_ids.count(MASK) == 4
    with pytest.raises(ValueError, match="trained critic"):
        score(explorer, state)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"by": "luck"}, "`by` must be one of"),
        ({}, "`count` must be given"),
        ({"by": "random", "count": -1}, "`count` must be at least 0"),
        ({"by": "threshold"}, "`threshold` must be given"),
        ({"by": "threshold", "threshold": 2.0}, "`threshold` must be in"),
    ],
)
def test_what_makes_no_sense_is_refused(explorer, how, message):
    state = score(explorer, fill(explorer, start_from_sample(explorer, 0, mask_rate=1.0)))
    with pytest.raises(ValueError, match=message):
        remask(explorer, state, **how)


@pytest.mark.parametrize("how", [{}, {"count": 1, "positions": [2]}, {"count": -1}])
def test_unmasking_wants_a_count_or_positions(explorer, how):
    with pytest.raises(ValueError, match="one of the two"):
        unmask(explorer, start_from_sample(explorer, 0, mask_rate=1.0), **how)


def test_a_beginning_without_masks_is_refused(explorer):
    with pytest.raises(ValueError, match="`mask_rate` must leave something"):
        start_from_sample(explorer, 0, mask_rate=1e-6)
    with pytest.raises(ValueError, match=r"`text` must hold a \[MASK\]"):
        start_from_text(explorer, "abc")
    with pytest.raises(ValueError, match="temprature"):
        start_from_text(explorer, "a[MASK]", temprature=1)
