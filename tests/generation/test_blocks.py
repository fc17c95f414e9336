# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about text that is generated block by block, beyond the length of the model, and beside kept keys and values.

In float64, where the same sums in another order decide nothing.
"""

from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from generation_cases import EOS, MASK, PAD, POSITIONS, arguments, build, every_strategy, graded, padded
from refusals import refused
from tiny_masked_lms import LONGEST, framed_tokenizer, tiny_masked_lm
from transformers import DynamicCache
from transformers.generation import BaseStreamer

from critic_gpt import CriticCalibration, CriticConfig, CriticGPTGenerationConfig, get_critic_model
from critic_gpt.generation.block_cache import BlockCache, Places
from critic_gpt.generation.blocks import block_numbers, spread
from critic_gpt.scripts.fast_dllm import CACHES, fast_dllm


LONG = 3 * POSITIONS
PROMPT = torch.tensor([[5, 6, 7]])
HOLES = torch.tensor([[5, MASK, MASK, 6, MASK, MASK, MASK, 7, MASK, MASK, MASK, MASK], [MASK] * 12])
BLOCKS = {"num_steps": 9, "block_length": 4, "seed": [3, 4]}


def calibrated(**fields):
    model = build(**fields)
    model.calibration = CriticCalibration([((i + 1) / 100) ** 2 for i in range(100)])
    return model


@pytest.fixture(scope="module", params=["rotary", "absolute"])
def either(request):
    return calibrated(position_embedding_type=request.param)


@pytest.fixture(scope="module")
def shallow():
    """Of one layer, whose keys and values follow from a token and its place alone: what is kept stays exact."""
    return calibrated(num_hidden_layers=1)


@contextmanager
def read_by(model):
    """The shapes of what goes through the trunk."""
    shapes = []
    handle = model.model.register_forward_hook(
        lambda module, args, kwargs, output: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        yield shapes
    finally:
        handle.remove()


def same(one, other):
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name


# ---- what a block is ----


def test_blocks_are_counted_in_each_row_from_the_left_over_what_may_change():
    editable = torch.tensor([[0, 1, 1, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1]]).bool()
    assert block_numbers(editable, 3).tolist() == [[-1, 0, 0, -1, 0, 1, 1, -1], [0, 0, 0, 1, 1, 1, 2, 2]]
    # In windows of 4 a block takes up two places, its own length at least, and no more.
    assert block_numbers(editable, 1, 4).tolist()[0] == [-1, 0, 1, -1, 2, 3, 4, -1]
    assert block_numbers(editable, 3, 4).tolist()[0] == [-1, 0, 0, -1, 1, 1, 1, -1]
    assert spread(9, 4) == [3, 2, 2, 2] and spread(8, 4) == [2] * 4 and spread(3, 1) == [3]


@every_strategy
def test_one_block_is_no_block(model, strategy):
    case = {"num_steps": 4, "seed": 0, **arguments(strategy)}
    plain = model.generate(HOLES, **case)
    same(plain, model.generate(HOLES, **case, block_length=12))
    # The same through the passes of a block: it sees what it saw, and its places alone are worked on.
    kept = model.generate(HOLES, **case, cache_implementation="dual", cache_refresh_interval=1)
    assert torch.equal(kept.sequences, plain.sequences) and kept.forward_passes == plain.forward_passes
    assert torch.equal(kept.trunk_tokens, plain.trunk_tokens)


@every_strategy
def test_blocks_are_filled_one_after_the_other_and_stay_what_they_were(model, strategy):
    output = model.generate(HOLES, **BLOCKS, **arguments(strategy), return_history=True)
    assert not (output.sequences == MASK).any() and torch.equal(output.sequences[HOLES != MASK], HOLES[HOLES != MASK])
    numbers = block_numbers(HOLES == MASK, 4)
    for row in range(2):
        at_work = -1
        for now, after in pairwise([*output.history, None]):
            ids = (output.sequences if after is None else after.input_ids)[row]
            changed = numbers[row][ids != now.input_ids[row]]
            assert changed.unique().numel() <= 1 and (changed >= at_work).all()
            at_work = max([at_work, *changed.tolist()])
            assert not (ids[(numbers[row] >= 0) & (numbers[row] < at_work)] == MASK).any()
    assert int(output.row_passes.max()) <= output.forward_passes


def test_num_steps_and_polish_steps_are_those_of_the_whole_text(model):
    for fields in ({}, {"remasking": "critic", "polish_steps": 5, "polish_threshold": 0.0}):
        output = model.generate(HOLES[1:], **{**BLOCKS, "seed": 0}, **fields, return_error_probabilities=False)
        assert output.forward_passes == 9 + fields.get("polish_steps", 0)


# ---- longer than the model ----


@every_strategy
def test_a_text_of_three_times_the_length_of_the_model(either, strategy):
    case = {"max_new_tokens": LONG, "block_length": 6, "num_steps": 14, **arguments(strategy)}
    rows = padded([[5, 6, 7], [4]])
    with read_by(either) as shapes:
        output = either.generate(rows, **case, seed=[3, 4], return_error_probabilities=False)
    assert output.forward_passes == len(shapes) and max(length for _, length in shapes) == POSITIONS
    assert output.sequences.shape == (2, LONG + 3) and not (output.sequences == MASK).any()
    assert output.sequences[0, :3].tolist() == [5, 6, 7] and output.sequences[1, [0, -1, -2]].tolist() == [4, PAD, PAD]
    alone = either.generate(rows[1:, :1], **case, seed=[4])
    assert torch.equal(alone.sequences[0], output.sequences[1, : LONG + 1])
    if alone.error_probabilities is not None:
        assert alone.scoring_passes > 1 and (alone.error_probabilities[0, 1:] > 0).all()


def test_a_short_row_is_the_same_beside_a_long_one_and_in_columns_beyond_the_model(either):
    case = {"block_length": 10, "num_steps": 12}
    short = [5] * 3 + [MASK] * 4 + [6] * 8 + [MASK] * 4 + [7] * 3  # one block, of more than half a window
    alone = either.generate(torch.tensor([short]), **case, seed=[4])
    for rows in ([[MASK] * LONG, short], [[8] * LONG, short]):
        beside = either.generate(padded(rows), **case, seed=[3, 4])
        assert torch.equal(beside.sequences[1, : len(short)], alone.sequences[0])
        assert beside.row_passes[1] == alone.row_passes[0]
    wide = either.generate(padded(rows)[1:], **case, seed=[4])
    assert torch.equal(wide.sequences[0, : len(short)], alone.sequences[0])


@pytest.mark.parametrize("cache", [None, "dual"])
def test_where_nothing_may_change_nothing_does(model, cache):
    given = torch.ones_like(HOLES, dtype=torch.bool)
    output = model.generate(HOLES, block_length=4, cache_implementation=cache, protected_mask=given, seed=0)
    assert torch.equal(output.sequences, HOLES) and not output.generated_mask.any()
    assert output.self_log_probability.isnan().all()


def test_a_window_holds_the_block_and_what_stands_on_its_sides(model):
    seen = []

    def judge(input_ids, attention_mask):
        seen.append(input_ids.clone())
        return torch.zeros(input_ids.shape)

    text = torch.arange(3, 12).repeat(12)[None, :100].clone()
    text[0, 40:44] = text[0, 95:99] = MASK
    case = {"num_steps": 4, "block_length": 4, "remasking_model": judge, "start_ratio": 0.0, "end_ratio": 0.0}
    model.generate(text, **case, return_error_probabilities=False)
    middle, end = seen[0][0], seen[-1][0]
    assert torch.equal(middle[:10], text[0, 30:40]) and torch.equal(middle[14:], text[0, 44:54])
    assert torch.equal(end[:19], text[0, 76:95]) and end[-1] == text[0, 99]


def test_a_model_with_a_frame_sees_every_window_within_it():
    model, tokenizer = tiny_masked_lm("bert"), framed_tokenizer()
    model = get_critic_model(model, CriticConfig(), tokenizer=tokenizer).eval()
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    seen = []
    model.base_model.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((args or [kwargs["input_ids"]])[0].clone()), with_kwargs=True
    )
    ids = torch.tensor([[begin, 7, 8, end]])
    case = {"max_new_tokens": 2 * LONGEST, "block_length": 20, "num_steps": 7, "seed": 0, "remasking": "none"}
    output = model.generate(ids, **case)
    assert all(shown[0, 0] == begin and shown[0, -1] == end and shown.shape[1] <= LONGEST for shown in seen)
    assert len(seen) == 7 and max(shown.shape[1] for shown in seen) == LONGEST
    assert output.sequences.shape == (1, 2 * LONGEST + 4) and not (output.sequences == tokenizer.mask_token_id).any()
    with refused(start="`cache_implementation` has no meaning for a BertForMaskedLMWithCritic, whose passes take no"):
        model.generate(ids, **case, cache_implementation="dual")
    model.generation_config = CriticGPTGenerationConfig(cache_implementation="dual")  # for another model
    assert torch.equal(model.generate(ids, **case).sequences, output.sequences)


# ---- the end of a text ----


def test_nothing_is_generated_behind_the_block_of_an_end_and_no_pass_is_spent_on_it(model):
    case = {"max_new_tokens": LONG, "block_length": 6, "num_steps": 24, "remasking": "critic"}
    case["return_error_probabilities"] = False
    prompts, seeds = PROMPT.repeat(4, 1), list(range(4))
    full = model.generate(prompts, **case, seed=seeds)
    output = model.generate(prompts, **case, seed=seeds, eos_token_id=EOS)
    assert full.row_passes.tolist() == [24] * 4 and (output.row_passes < 24).any()
    for row, tokens in enumerate(output.sequences.tolist()):
        begun = output.row_passes[row] // 2 * 6
        place = tokens.index(EOS) if EOS in tokens else LONG + 2
        assert begun == -(-(place - 2) // 6) * 6
        assert tokens[: place + 1] == full.sequences[row, : place + 1].tolist()
        assert {*tokens[place + 1 :]} <= {PAD} and not output.generated_mask[row, place + 1 :].any()
    # An end that was given ends nothing.
    given = model.generate(torch.tensor([[5, EOS, 7]]), **case, seed=[9], eos_token_id=[EOS])
    assert given.row_passes[0] > 0 and given.sequences[0, 3] != PAD


def test_a_criterion_ends_a_row_with_its_block_and_leaves_out_what_was_not_begun(model):
    asked = []

    def third_block(ids, scores):
        asked.append((ids.clone(), scores[0].shape))
        return torch.tensor([bool((row[11:] != MASK).any()) for row in ids])

    case = {"max_new_tokens": 24, "block_length": 4, "num_steps": 12, "seed": 0}
    output = model.generate(PROMPT, **case, stopping_criteria=[third_block])
    assert output.row_passes.tolist() == [5] and {*output.sequences[0, 15:].tolist()} == {PAD}
    assert not (output.sequences[:, :15] <= MASK).any()
    assert all(ids.shape == (1, 27) and shape == (1, 27, 12) for ids, shape in asked)
    with refused(start="`stopping_criteria` need a `pad_token_id` beside `block_length`, "):
        unpadded = build(pad_token_id=None)
        unpadded.generate(PROMPT, **case, stopping_criteria=[third_block])


# ---- kept keys and values ----


@pytest.mark.parametrize("kind", ["rotary", "absolute", "both"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("pads", [0, 3])
def test_a_pass_beside_kept_keys_says_what_one_over_all_says(kind, attention, pads):
    model = build(position_embedding_type=kind, attn_implementation=attention, add_joint_head=True).float()
    ids = torch.randint(3, 12, (2, 16), generator=torch.Generator().manual_seed(0))
    ids[:, 5:9] = MASK
    mask = torch.ones_like(ids)
    mask[1, 16 - pads :] = 0
    whole = model(ids, attention_mask=mask)
    cache, places = BlockCache(), torch.tensor([[5, 6, 7, 8], [8, 3, 12, 0]])
    with torch.no_grad():
        first = model(ids, attention_mask=mask, past_key_values=cache)
        cache.places = Places(places, torch.ones_like(places).bool())
        fields = {"attention_mask": mask, "position_ids": places, "past_key_values": cache}
        some = model(ids.gather(1, places), **fields)
    torch.testing.assert_close(first.logits, whole.logits, atol=1e-5, rtol=0)
    for name in ("logits", "critic_logits"):
        picked = torch.stack([values[at] for values, at in zip(whole[name], places, strict=True)])
        torch.testing.assert_close(some[name], picked, atol=1e-5, rtol=0)
    for row in range(2):
        picked = whole.joint_keys[row][:, places[row]]
        torch.testing.assert_close(some.joint_keys[row], picked, atol=1e-5, rtol=0)


def test_a_cache_of_transformers_holds_what_comes_first(shallow):
    ids, cache, places = torch.arange(3, 12)[None], DynamicCache(), torch.arange(5, 9)[None]
    with torch.no_grad():
        shallow(ids[:, :5], past_key_values=cache)
        rest = shallow(ids[:, 5:], position_ids=places, past_key_values=cache).logits
        torch.testing.assert_close(rest, shallow(ids).logits[:, 5:])
        with refused(start="`position_ids` must say where `input_ids` stand beside kept keys and values, got None: "):
            shallow(ids[:, 5:], past_key_values=cache)


@every_strategy
def test_a_cache_that_is_refreshed_in_every_pass_or_of_one_layer_changes_no_token(shallow, either, strategy):
    kind = "prefix" if either.config.position_embedding_type == "rotary" else "dual"
    case = {"max_new_tokens": 26, "block_length": 7, "num_steps": 9, "seed": [5, 6], **arguments(strategy)}
    case["return_error_probabilities"] = False
    rows = padded([[5, 6, 7], [4]])
    cached = {**case, "cache_implementation": kind}
    plain = either.generate(rows, **case)
    assert torch.equal(either.generate(rows, **cached, cache_refresh_interval=1).sequences, plain.sequences)
    exact, kept = shallow.generate(rows, **case), shallow.generate(rows, **cached)
    assert torch.equal(kept.sequences, exact.sequences)
    assert (kept.trunk_tokens < exact.trunk_tokens).all()
    assert torch.equal(kept.row_passes, exact.row_passes)


@pytest.mark.parametrize("interval", [None, 1, 2, 3])
@pytest.mark.parametrize("kind", ["prefix", "dual"])
def test_what_goes_through_the_trunk_is_counted(model, kind, interval):
    fields = {"cache_implementation": kind, "cache_refresh_interval": interval}
    with read_by(model) as shapes:
        case = {"max_new_tokens": 12, "block_length": 4, "num_steps": 12, "seed": 0, "remasking": "critic"}
        output = model.generate(PROMPT, **case, **fields, return_error_probabilities=False)
    expected = []
    for block in range(3):
        part = 4 if kind == "dual" else 12 - 4 * block
        expected += [15 if step % (interval or 4) == 0 else part for step in range(4)]
    assert shapes == [(1, length) for length in expected]
    assert output.trunk_tokens.tolist() == [sum(expected)] and output.forward_passes == 12


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_without_chance_the_order_by_a_threshold_is_fast_dllm(either, cache, threshold):
    canvas = torch.cat([PROMPT, torch.full((1, 20), MASK)], dim=-1)
    theirs = fast_dllm(either, canvas, 6, cache, threshold)
    case = {"remasking": "none", "unmasking": "confidence_threshold", "confidence_threshold": threshold}
    case |= {"temperature": 0, "num_steps": 24, "block_length": 6, "cache_implementation": cache}
    output = either.generate(canvas, **case, return_error_probabilities=False)
    assert torch.equal(output.sequences, theirs.tokens) and output.forward_passes == theirs.passes
    fixed = fast_dllm(either, canvas, 6, cache, threshold=None, per_pass=2)
    assert fixed.passes == 10 and not (fixed.tokens == MASK).any()


def test_rows_that_end_early_leave_the_cache_too(either):
    case = {"block_length": 5, "num_steps": 24, "cache_implementation": "dual", "remasking": "critic"}
    case |= {"stop_when_expected_errors_below": 2.0, "revision_threshold": 0.6, "return_error_probabilities": False}
    rows = padded([[5, *[MASK] * 9, 6], [MASK] * 14, [4, MASK, 3, MASK]])
    batch = either.generate(rows, **case, seed=[1, 2, 3])
    assert len({*batch.row_passes.tolist()}) > 1
    for row, length in enumerate((11, 14, 4)):
        alone = either.generate(rows[row : row + 1, :length], **case, seed=[row + 1])
        assert torch.equal(alone.sequences[0], batch.sequences[row, :length])
        assert alone.row_passes[0] == batch.row_passes[row] and alone.trunk_tokens[0] == batch.trunk_tokens[row]


# ---- behind the block ----


@pytest.mark.parametrize("strategy", ["critic", "critic_full", "prism", "token_critic"])
@pytest.mark.parametrize("cache", [None, "dual"])
def test_what_the_critic_doubts_of_finished_blocks_may_change_again_and_nothing_else(either, strategy, cache):
    case = {"max_new_tokens": 20, "block_length": 5, "num_steps": 20, "seed": [3], "remasking": strategy}
    case |= {"cache_implementation": cache, "return_history": True, "return_error_probabilities": False}
    output = either.generate(PROMPT, **case, revision_threshold=0.3)
    numbers, revised = block_numbers((output.history[0].input_ids == MASK), 5)[0], 0
    texts = [*(output.history[5 * block].input_ids for block in range(4)), output.sequences]
    for block in range(1, 4):
        ids, after = texts[block][0], texts[block + 1][0]
        wrong = either.calibration.error_probability(either.critic_scores(texts[block]))[0]
        changed = (numbers < block) & (numbers >= 0) & (after != ids)
        assert (wrong[changed] > 0.3).all() and changed.sum() <= 5
        revised += int(changed.sum())
    assert revised
    never, plain = either.generate(PROMPT, **case, revision_threshold=1.0), either.generate(PROMPT, **case)
    assert torch.equal(never.sequences, plain.sequences) and torch.equal(never.trunk_tokens, plain.trunk_tokens)


# ---- what others see ----


def test_processors_see_all_other_tokens_of_the_text_and_the_steps_that_are_left(model):
    seen = []

    class Spy:
        def __call__(self, input_ids, scores, cur_step):
            seen.append((input_ids.clone(), scores.shape, cur_step))
            return scores

    case = {"max_new_tokens": 8, "block_length": 4, "num_steps": 4, "seed": 0, "remasking": "none"}
    plain = model.generate(PROMPT, **case, return_history=True)
    assert torch.equal(model.generate(PROMPT, **case, logits_processor=[Spy()]).sequences, plain.sequences)
    assert [left for *_, left in seen] == [4, 3, 2, 1] and all(shape == (4, 12) for _, shape, _ in seen)
    for step, (others, *_) in enumerate(seen):
        ids = plain.history[step].input_ids[0]
        begin = 3 if step < 2 else 7
        for place, row in enumerate(others, start=begin):
            assert torch.equal(row, torch.cat([ids[:place], ids[place + 1 :]]))


def test_a_streamer_gets_the_whole_text_in_every_step(model):
    class Spy(BaseStreamer):
        def __init__(self):
            self.parts, self.drafts = [], []

        def put(self, value):
            self.parts.append(value)

        def put_draft(self, value):
            self.drafts.append(value)

        def end(self):
            pass

    streamer = Spy()
    output = model.generate(PROMPT, max_new_tokens=30, block_length=5, num_steps=12, seed=0, streamer=streamer)
    assert torch.equal(torch.cat(streamer.parts, dim=-1), output.sequences)
    assert [tuple(draft.shape) for draft in streamer.drafts] == [(1, 30)] * 12
    masks = [int((draft == MASK).sum()) for draft in streamer.drafts]
    assert masks[-1] == 0 and all(masks[2 * block + 1] == 25 - 5 * block for block in range(6))


def test_candidates_and_joint_draws_go_block_by_block():
    model = calibrated(add_joint_head=True)
    case = {"max_new_tokens": 40, "block_length": 8, "num_steps": 10, "seed": [7], "remasking": "critic"}
    output = model.generate(PROMPT, **case, num_candidates=3, cache_implementation="prefix")
    assert output.candidate_expected_errors.shape == (1, 3) and output.row_passes.tolist() == [30]
    assert torch.equal(
        model.generate(PROMPT, **case, cache_implementation="dual", cache_refresh_interval=1).sequences,
        model.generate(PROMPT, **case).sequences,
    )


# ---- what is refused ----

WHOLE = "must be a whole number of at least 1, got"
BAD = [
    *(({"block_length": value}, f"`block_length` {WHOLE} {value!r}: ") for value in (0, -1, 2.0, True, "all")),
    ({"block_length": 4, "num_steps": 2}, "`num_steps` must be at least the number of blocks, 3, since each takes "),
    ({"cache_implementation": "static"}, "`cache_implementation` must be one of prefix, dual, got 'static': "),
    ({"cache_implementation": True}, "`cache_implementation` must be one of prefix, dual, got True: "),
    ({"use_cache": True}, "`use_cache` is not an argument of generation, got True: `cache_implementation` says which"),
    ({"cache_refresh_interval": 2}, "`cache_refresh_interval` has no meaning without a `cache_implementation`, got 2"),
    ({"cache_implementation": "dual", "cache_refresh_interval": 0}, f"`cache_refresh_interval` {WHOLE} 0: "),
    ({"revision_threshold": 0.5}, "`revision_threshold` has no meaning without a `block_length`, got 0.5: "),
    ({"revision_threshold": 1.5, "block_length": 4}, "`revision_threshold` must be in [0, 1], got 1.5: "),
    (
        {"revision_threshold": 0.5, "block_length": 4, "remasking": "none"},
        "`revision_threshold` has no meaning for `remasking='none'`, a one-pass strategy, got 0.5: ",
    ),
    (
        {"schedule": [0.5, 0.0], "block_length": 4, "num_steps": 9, "remasking": "none"},
        "`schedule` must hold one ratio for each step of a block, got 2 for blocks of 3 steps: ",
    ),
    (
        {"input_ids": torch.full((1, LONG), MASK), "block_length": POSITIONS + 1},
        f"`block_length` must fit the model, which takes {POSITIONS} tokens at once, got {POSITIONS + 1} for a ",
    ),
    ({"input_ids": torch.full((1, LONG), MASK)}, "`input_ids` and `max_new_tokens` must fit "),
    ({"input_ids": torch.full((1, LONG), MASK), "cache_implementation": "dual"}, "`input_ids` and `max_new_tokens` "),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_what_makes_no_sense_is_refused_in_one_sentence(model, fields, message):
    with refused(start=message):
        model.generate(**{"input_ids": HOLES, **fields})


def test_a_critic_that_reads_the_masks_of_the_whole_text_takes_no_cache():
    model = build(critic_head_type="odds", trained=False)
    with refused(start="`cache_implementation` has no meaning for a critic that reads the odds of tokens, and with"):
        model.generate(HOLES, block_length=4, cache_implementation="dual")
    with refused(start="`cache_implementation` has no meaning for a CriticGPTForMaskedLM, whose passes"):
        build(is_causal=True).generate(HOLES, block_length=4, cache_implementation="dual")


def test_what_a_stored_configuration_says_of_blocks_holds_where_it_means_something(model, tmp_path):
    settings = CriticGPTGenerationConfig(block_length=4, revision_threshold=0.5, cache_refresh_interval=2, num_steps=9)
    settings.save_pretrained(tmp_path)
    model.generation_config = CriticGPTGenerationConfig.from_pretrained(tmp_path)
    try:
        output = model.generate(HOLES, seed=0, remasking="none")
        resolved = model.resolve_generation_config(remasking="none")
    finally:
        model.generation_config = CriticGPTGenerationConfig()
    same(output, model.generate(HOLES, seed=0, remasking="none", block_length=4, num_steps=9))
    assert (resolved.block_length, resolved.revision_threshold, resolved.cache_refresh_interval) == (4, None, None)


@pytest.mark.parametrize("broken", ["critic", "language model"])
def test_a_broken_number_within_a_block_is_no_token(broken):
    model = graded(build(), 0.5)
    part = model.critic_head if broken == "critic" else model.lm_head
    with torch.no_grad():
        next(part.parameters()).fill_(float("nan"))
    with refused(start="`model` must give finite ", error=ValueError):
        model.generate(PROMPT, max_new_tokens=8, block_length=4, num_steps=4, cache_implementation="dual")
