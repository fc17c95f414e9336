# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about filling canvases: what is counted, and that neither batches nor processes change anything."""

from types import SimpleNamespace

import pytest
import torch
from sentences import one_sentence

from critic_gpt.evaluation import sampling
from critic_gpt.evaluation.held_out_figures import canvases_like
from critic_gpt.evaluation.sampling import ForwardCounter, blank_canvases, fill_batches, sample_texts


def sample(model, tokenizer, num=7, batch_size=7, seed=3, accelerator=None, length=9, **kwargs):
    canvases = blank_canvases(tokenizer, num, length, model.backbone)
    return sample_texts(model, tokenizer, canvases, batch_size, seed, accelerator, **{"num_steps": 4, **kwargs})


def test_the_hook_counts_what_runs_and_goes_away(tiny_model):
    model = tiny_model()
    ids = torch.full((2, 5), 1)
    with pytest.raises(KeyError), ForwardCounter(model) as counter:
        model(ids)
        model(ids, labels=torch.full((2, 5), 3))  # two passes: the critic's as well
        model.critic_scores(ids[:1])
        raise KeyError
    model(ids)
    assert (counter.passes, counter.row_passes) == (4, 7)


@pytest.mark.parametrize("remasking", ["none", "critic", "critic_full", "remdm_cap", "prism"])
def test_the_batch_size_changes_no_sample(tiny_model, tokenizer, remasking):
    # With rotary positions, all of an empty canvas look alike and rounding would tell which come first.
    model = tiny_model(position_embedding_type="absolute").double()
    drawn = [sample(model, tokenizer, batch_size=size, remasking=remasking) for size in (1, 3, 7, 50)]
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]
    assert len(set(drawn[0].texts)) == 7
    assert drawn[0] != sample(model, tokenizer, seed=4, remasking=remasking)


@pytest.mark.parametrize("world", [2, 3])
def test_shared_samples_are_those_of_one_process_in_their_order(tiny_model, tokenizer, monkeypatch, world):
    model = tiny_model(position_embedding_type="absolute").double()
    flags = {"batch_size": 5, "remasking": "critic", "measure": lambda output: output.sequences[:, 0].tolist()}
    alone = sample(model, tokenizer, **flags)
    assert len(alone.measured) == len(alone.texts) == 7
    parts = []
    monkeypatch.setattr(sampling, "gather_object", lambda own: parts.extend(own) or own)
    for rank in reversed(range(world)):
        sample(model, tokenizer, accelerator=SimpleNamespace(num_processes=world, process_index=rank), **flags)
    assert all(len(found) < 7 for found, _, _ in parts)
    monkeypatch.setattr(sampling, "gather_object", lambda own: parts)
    nobody = SimpleNamespace(num_processes=world, process_index=world)
    assert sample(model, tokenizer, accelerator=nobody, **flags) == alone


def test_given_tokens_stay_and_every_canvas_is_filled(tiny_model, tokenizer):
    canvases = torch.randint(2, 32, (5, 9), generator=torch.Generator().manual_seed(0))
    canvases[:, ::2] = tokenizer.mask_token_id
    filled = sample_texts(tiny_model(), tokenizer, canvases, 2, 0, num_steps=3).texts
    for text, canvas in zip(filled, canvases, strict=True):
        assert len(text) == 9 and text[1::2] == tokenizer.decode(canvas[1::2])


def test_passes_are_those_of_a_sequence_even_where_several_candidates_share_one(tiny_model, tokenizer):
    model = tiny_model()
    assert sample(model, tokenizer)[1:3] == (4, 4.0)
    # Three candidates of four steps, and a verdict on each.
    assert sample(model, tokenizer, num_candidates=3)[1:3] == (15, 15.0)
    scored = sample(model, tokenizer, return_error_probabilities=True)
    assert scored[1:3] == (5, 5.0) and scored.texts == sample(model, tokenizer).texts


def test_sequences_that_stop_early_are_counted_for_what_they_took(tiny_model, tokenizer):
    model = tiny_model(position_embedding_type="absolute")
    flags = {"remasking": "none", "unmasking": "confidence_threshold", "confidence_threshold": 0.2, "num_steps": 9}
    samples = sample(model, tokenizer, num=20, batch_size=20, **flags)
    one_by_one = [
        batch.counter.passes
        for batch in fill_batches(
            model, blank_canvases(tokenizer, 20, 9, model.backbone), 1, 3, return_error_probabilities=False, **flags
        )
    ]
    assert samples.forward_passes == max(one_by_one) and samples.mean_forward_passes == sum(one_by_one) / 20
    assert min(one_by_one) < max(one_by_one)


def test_padding_behind_a_generated_end_is_no_part_of_a_text(tiny_model, tokenizer):
    model = tiny_model(eos_token_id=5)
    with torch.no_grad():
        model.lm_head.weight[5] = model.lm_head.weight[6:].mean(dim=0)
    texts = sample(model, tokenizer, 20, 20, 0, length=30, num_steps=30, unmasking="random", remasking="none").texts
    assert any(len(text) < 30 for text in texts)
    assert all("[PAD]" not in text and (len(text) == 30 or text.endswith(".")) for text in texts)


def test_a_model_that_miscounts_is_caught(tiny_model, tokenizer, monkeypatch):
    model = tiny_model()
    inner = type(model).generate

    def lie(self, *args, **kwargs):
        output = inner(self, *args, **kwargs)
        output.forward_passes -= 1
        return output

    monkeypatch.setattr(type(model), "generate", lie)
    with pytest.raises(RuntimeError, match="reported 3 passes where 4 ran"):
        sample(model, tokenizer)


@pytest.mark.parametrize(("field", "numbers"), [("num_samples", (0, 7)), ("batch_size", (7, 0))])
def test_wrong_numbers_are_one_sentence(tiny_model, tokenizer, field, numbers):
    with one_sentence(begins=f"`{field}` must be at least 1, got 0"):
        sample(tiny_model(), tokenizer, *numbers)


def test_canvases_are_as_long_as_sequences_of_all_lengths_that_are_held_out(tiny_model, tokenizer):
    rows = [[tokenizer.mask_token_id] * length for length in range(2, 10) for _ in range(5)]  # in order of length
    canvases = canvases_like(rows, 8, tokenizer, tiny_model().backbone)
    assert (canvases == tokenizer.mask_token_id).sum(dim=1).tolist() == [*range(2, 10)]
    assert canvases_like(rows[-1:], 3, tokenizer, tiny_model().backbone).shape == (3, 9)
    # Rows of nothing but padding have no canvas.
    assert canvases_like([[0] * 9, *rows, [0]], 8, tokenizer, tiny_model().backbone).equal(canvases)
    with pytest.raises(ValueError, match="`rows` must hold sequences of tokens, got nothing but padding"):
        canvases_like([[0, 0]], 1, tokenizer, tiny_model().backbone)
