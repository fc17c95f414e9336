# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import json
from types import SimpleNamespace

import pytest
import torch

from critic_gpt.explorer import (
    Explorer,
    denoising_view,
    fill,
    generation_view,
    remask,
    score,
    start_from_sample,
    start_from_text,
    view_data,
)
from critic_gpt.explorer.drawing import headings
from critic_gpt.generation.strategies.registry import STRATEGIES
from critic_gpt.tasks import SudokuTask


def test_a_state_is_seen_with_its_masks_errors_and_changes(explorer, rows):
    state = start_from_sample(explorer, 0, mask_rate=0.7)
    view = denoising_view(explorer, state)
    assert view.num_masked == state.input_ids.count(1) and view.true_wrong == 0 and view.expected_wrong is None
    state = fill(explorer, state)
    view = denoising_view(explorer, state)
    differ = [i for i, token in enumerate(state.input_ids) if token != rows[0]["input_ids"][i]]
    assert [token.position for token in view.tokens if token.wrong] == differ and view.true_wrong == len(differ)
    assert [token.position for token in view.tokens if token.filled] == list(state.changed) and view.num_masked == 0
    state = score(explorer, state)
    view = denoising_view(explorer, state, threshold=0.3)
    holes = [i for i, editable in enumerate(state.editable) if editable]
    assert view.expected_wrong == pytest.approx(sum(state.error_probabilities[i] for i in holes))
    assert [i for i in holes if view.tokens[i].flagged] == [i for i in holes if state.error_probabilities[i] > 0.3]
    assert all(view.tokens[i].flagged is None for i in range(24) if i not in holes), "given tokens are not judged"
    state = remask(explorer, state, count=3)
    view = denoising_view(explorer, state)
    assert [token.position for token in view.tokens if token.remasked] == list(state.changed)


@pytest.mark.parametrize("remasking", [name for name in STRATEGIES if name != "external"])
def test_a_replay_shows_every_step_of_generate(explorer, remasking):
    state = start_from_sample(explorer, 1, mask_rate=1.0, seed=3)
    view = generation_view(explorer, state, remasking=remasking, num_steps=4)
    ids = torch.tensor([state.input_ids])
    output = explorer.model.generate(ids, seed=3, remasking=remasking, num_steps=4, return_history=True)
    assert [token.id for token in view.tokens] == output.sequences[0].tolist() and view.strategy == remasking
    assert view.expected_wrong == pytest.approx(output.expected_errors.item(), rel=1e-5)
    assert (view.forward_passes, view.scoring_passes) == (output.forward_passes, output.scoring_passes)
    assert len(view.steps) == 4
    for seen, step in zip(view.steps, output.history, strict=True):
        assert [token.id for token in seen.tokens] == step.filled[0].tolist()
        assert [token.remasked for token in seen.tokens] == step.remasked[0].tolist()
        assert [token.filled for token in seen.tokens] == (step.input_ids != step.filled)[0].tolist()
        assert seen.num_masked_before == int((step.input_ids == 1).sum())
        assert seen.num_remasked == int(step.remasked.sum())
        masks = step.input_ids == 1
        assert seen.num_filled == int((masks & (step.filled != 1)).sum())
        assert seen.num_replaced == int((~masks & (step.filled != step.input_ids)).sum())


def test_in_one_pass_nothing_is_said_of_tokens_that_were_masks_when_the_critic_spoke(explorer):
    state = start_from_sample(explorer, 1, mask_rate=1.0, seed=3)
    for remasking, silent in (("critic", True), ("critic_full", False)):
        view = generation_view(explorer, state, remasking=remasking, num_steps=3)
        new = [token for step in view.steps[:2] for token in step.tokens if token.filled]
        assert new and all((token.error_probability is None) is silent for token in new)


def test_what_is_drawn_in_place_of_another_token_is_new_and_counted_apart(explorer):
    state = start_from_sample(explorer, 1, mask_rate=1.0, seed=3)
    view = generation_view(explorer, state, remasking="critic", correction="replace", num_steps=4, error_threshold=0.4)
    assert view.steps[0].num_replaced == 0 and sum(step.num_replaced for step in view.steps) > 0
    for step in view.steps:
        new = [token for token in step.tokens if token.filled]
        assert len(new) == step.num_filled + step.num_replaced and all(t.error_probability is None for t in new)
        words = f"{step.num_filled} filled, {step.num_replaced} replaced, 0 re-masked"
        assert step.num_replaced == 0 or headings(step)[0].endswith(words)


def test_a_generation_costs_what_all_its_candidates_cost(explorer):
    state = start_from_sample(explorer, 1, mask_rate=1.0, seed=3)
    assert generation_view(explorer, state, num_steps=3, num_candidates=4).forward_passes == 12


def test_generation_goes_on_from_where_a_hand_left(explorer):
    state = remask(explorer, fill(explorer, start_from_sample(explorer, 0, mask_rate=1.0)), "positions", positions=[4])
    view = generation_view(explorer, state, remasking="none", num_steps=1)
    changed = [i for i in range(24) if view.tokens[i].id != state.input_ids[i]]
    assert changed == [4]


def test_the_task_judges_what_is_finished_and_nothing_else(explorer, tiny_model):
    task = SudokuTask(size=4)
    explorer = Explorer(tiny_model(), task.tokenizer(), task=task)
    start = start_from_text(explorer, "12[MASK]434122143432[MASK]")
    assert denoising_view(explorer, start).judged is None
    view = denoising_view(explorer, fill(explorer, start))
    assert view.judged == task.judge([view.text]) and view.row_width == 4
    view = generation_view(explorer, start, num_steps=2)
    assert view.judged == task.judge([view.text])


def test_views_of_denoising_are_strict_json(explorer):
    state = start_from_sample(explorer, 0, mask_rate=0.7)
    for view in (denoising_view(explorer, score(explorer, state)), generation_view(explorer, state, num_steps=2)):
        data = view_data(view)
        assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_what_follows_a_generated_end_is_neither_text_nor_wrong_nor_judged(explorer):
    judged = []
    explorer = Explorer(
        explorer.model,
        explorer.tokenizer,
        explorer.splits,
        task=SimpleNamespace(judge=judged.extend, row_width=None, exact=False),
    )
    state = start_from_sample(explorer, 0, mask_rate=1.0)
    whole = [token.id for token in generation_view(explorer, state, remasking="none", num_steps=4).tokens]
    judged.clear()
    explorer.model.config.eos_token_id = whole[5]
    end = whole.index(whole[5]) + 1
    view = generation_view(explorer, state, remasking="none", num_steps=4)
    behind = [token for token in view.tokens[end:] if state.editable[token.position]]
    assert behind and all(token.id == 0 and token.text == "[PAD]" for token in behind)
    assert not any(token.judged or token.filled or token.wrong or token.flagged for token in behind)
    assert all(token.error_probability is None for token in behind)
    kept = [token for token in view.tokens if token not in behind]
    assert view.true_wrong == sum(token.wrong for token in kept)
    assert view.text == explorer.tokenizer.decode([token.id for token in kept]) and judged == [view.text]
