# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about orders of unmasking that themselves decide how many masks are lifted."""

import pytest
import torch
from denoising_steps import ADAPTIVE, MASK, generate, probabilities_of

from critic_gpt.diffusion.selection import entropy
from critic_gpt.generation.canvas import confidence_threshold_reveal, entropy_bound_reveal


@pytest.mark.parametrize(("unmasking", "value"), ADAPTIVE)
def test_an_adaptive_order_lifts_what_it_says_and_ends_when_all_is_lifted(model, warnings, unmasking, value):
    # Of the likeliest tokens, so that the history tells what would have been drawn where a mask stayed.
    order = {"remasking": "none", "unmasking": unmasking, unmasking: value, "temperature": 0}
    output = generate(model, num_steps=30, **order)
    for step in output.history:
        probabilities, masked = probabilities_of(model, step.input_ids), step.input_ids == MASK
        lifted = masked & (step.filled != MASK)
        if unmasking == "entropy_bound":
            expected = entropy_bound_reveal(entropy(probabilities), masked, value)
        else:
            expected = confidence_threshold_reveal(probabilities.amax(-1), masked, value)
        assert torch.equal(lifted, expected)
    assert not (output.sequences == MASK).any() and warnings == []
    needed = torch.stack([(step.input_ids == MASK).any(-1) for step in output.history]).sum(0)
    assert torch.equal(output.row_passes, needed) and output.forward_passes == needed.max() < 30
    assert len(set(needed.tolist())) > 1, "rows end one by one"


def test_confidence_is_that_in_the_token_that_was_drawn(model):
    output = generate(
        model, remasking="none", unmasking="confidence_threshold", confidence_threshold=0.2, num_steps=30
    )
    unlikely = together = 0
    for step in output.history:
        probabilities, lifted = probabilities_of(model, step.input_ids), step.filled != step.input_ids
        probability = probabilities.gather(-1, step.filled[..., None]).squeeze(-1)
        several = lifted & (lifted.sum(-1, keepdim=True) > 1)
        # One at least is lifted whatever its probability.
        assert ((several & (probability <= 0.2)).sum(-1) <= 1).all()
        unlikely += int((lifted & (probability < probabilities.amax(-1))).sum())
        together += int(several.any())
    assert unlikely > 0 and together > 0


@pytest.mark.parametrize(("unmasking", "value"), [("entropy_bound", 0.0), ("confidence_threshold", 1.0)])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_the_last_step_of_an_adaptive_order_lifts_the_rest_and_says_how_many(
    model, warnings, unmasking, value, num_steps
):
    order = {"remasking": "none", "unmasking": unmasking, unmasking: value}
    output = generate(model, num_steps=num_steps, **order)
    assert not (output.sequences == MASK).any() and output.forward_passes == num_steps
    (said,) = warnings
    # Had there been one step more, so many masks would have been left.
    enough = generate(model, num_steps=num_steps + 1, **order).history[num_steps].input_ids == MASK
    count, rows = int(enough.sum()), int(enough.any(-1).sum())
    assert said.startswith(
        f"`num_steps={num_steps}` was too small for `unmasking='{unmasking}'`: the last step revealed {count} tokens "
        f"of {rows} sequences that the order would have kept back. Raise `num_steps`"
    )


@pytest.mark.parametrize(("num_steps", "bound"), [(3, 4.0), (12, 4.0), (12, 6.0)])
def test_what_the_critic_masked_again_is_no_reason_to_ask_for_more_steps(model, warnings, num_steps, bound):
    order = {"unmasking": "entropy_bound", "entropy_bound": bound}
    output = generate(model, remasking="critic", num_steps=num_steps, remask_per_step=3, **order)
    said = list(warnings)
    last = output.history[-1].input_ids
    kept_back = generate(model, last, remasking="none", num_steps=2, **order).history[1].input_ids == MASK
    never = torch.stack([step.input_ids == MASK for step in output.history]).all(0)
    count = int((kept_back & never).sum())
    assert output.forward_passes == num_steps and (kept_back & ~never).any() and bool(count) == (bound == 4.0)
    assert [f" the last step revealed {count} tokens of " in line for line in said] == [True] * bool(count)
