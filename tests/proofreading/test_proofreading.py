# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `model.proofread`: windows, scores, candidates, corrections."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from critic_gpt import CriticCalibration, CriticGPTConfig, CriticGPTForMaskedLM, CriticProofreadPipeline
from critic_gpt.diffusion.windows import owned_ranges, window_starts


SIZES = {"vocab_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0, "mask_token_id": 1}
LENGTHS = (0, 1, 5, 12, 13, 40, 101)


@pytest.fixture
def model(tiny_model):
    """In float64: what a batch around a row does to the last digits decides nothing."""
    model = tiny_model(max_position_embeddings=12).double()
    with torch.no_grad():
        model.critic_head.weight.mul_(0.5)
    model.calibration = CriticCalibration([(i / 99) ** 0.5 for i in range(100)])
    return model


@pytest.fixture
def texts():
    torch.manual_seed(3)
    return [torch.randint(2, 32, (length,)) for length in LENGTHS]


@pytest.fixture
def rows_seen(model):
    """How many rows each forward pass of the trunk had."""
    rows = []
    handle = model.model.register_forward_hook(
        lambda module, args, kwargs, output: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    yield rows
    handle.remove()


def same(first, second):
    """Whether two proofs say the same, candidates up to the digits of float32."""
    equal = ("error_probabilities", "candidate_ids", "corrected_ids")
    plain = ("windows", "forward_passes", "rounds", "settled")
    return (
        torch.allclose(first.candidate_probabilities, second.candidate_probabilities, atol=1e-6)
        and all(torch.equal(getattr(first, name), getattr(second, name)) for name in equal)
        and all(getattr(first, name) == getattr(second, name) for name in plain)
    )


# ---- windows ----


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 200), st.integers(1, 40), st.data())
def test_every_token_belongs_to_one_window_and_to_the_one_that_shows_most_around_it(length, window, data):
    starts = window_starts(length, window, data.draw(st.integers(0, window - 1)))
    owned = owned_ranges(starts, length, window)
    assert [place for begin, end in owned for place in range(begin, end)] == list(range(length))
    assert len(owned) == len(starts) and starts == sorted(set(starts))

    def context(start, place):
        left = place - start if start else length
        right = start + window - 1 - place if start + window < length else length
        return min(left, right) if min(left, right) >= 0 else -1

    for start, (begin, end) in zip(starts, owned, strict=True):
        assert start <= begin < end <= start + window and (length <= window or start + window <= length)
        for place in range(begin, end):
            assert context(start, place) == max(context(other, place) for other in starts)


def test_a_short_text_is_one_window_and_neighbours_share_what_was_asked_for():
    assert window_starts(0, 12, 6) == [] and owned_ranges([], 0, 12) == []
    assert window_starts(5, 12, 6) == [0] and window_starts(12, 12, 6) == [0]
    assert window_starts(36, 12, 0) == [0, 12, 24]
    assert window_starts(30, 12, 6) == [0, 6, 12, 18]
    assert window_starts(31, 12, 6) == [0, 6, 12, 18, 19]


# ---- scores ----


def test_the_scores_of_a_short_text_are_the_critics_in_one_pass(model, texts):
    proof = model.proofread([texts[2]])[0]
    scores = model.critic_scores(texts[2][None])[0]
    assert torch.allclose(proof.error_probabilities.double(), model.calibration.error_probability(scores))
    assert (proof.windows, proof.forward_passes) == (1, 1)
    assert proof.corrected_ids is proof.corrected_expected_errors is proof.rounds is proof.settled is None


def test_each_token_of_a_long_text_is_judged_in_its_own_window(model, texts):
    text = texts[-1]
    proof = model.proofread([text], stride=5)[0]
    starts = window_starts(len(text), 12, 5)
    for start, (begin, end) in zip(starts, owned_ranges(starts, len(text), 12), strict=True):
        scores = model.critic_scores(text[None, start : start + 12])[0, begin - start : end - start]
        expected = model.calibration.error_probability(scores).float()
        assert torch.allclose(proof.error_probabilities[begin:end], expected)
    assert proof.windows == proof.forward_passes == len(starts)


@pytest.mark.parametrize("suggest_by", ["visible", "masked"])
@pytest.mark.parametrize("position", ["rotary", "absolute"])
def test_a_text_is_judged_alike_whatever_the_batch(tiny_model, texts, suggest_by, position):
    model = tiny_model(max_position_embeddings=12, position_embedding_type=position).double()
    case = {"suggest_by": suggest_by, "correct": True, "max_rounds": 3}
    alone = [model.proofread([text], batch_size=1, **case)[0] for text in texts]
    assert {proof.rounds for proof in alone} >= {0, 3}
    for batch_size in (3, 100):
        together = model.proofread(texts, batch_size=batch_size, **case)
        for first, second in zip(alone, together, strict=True):
            assert same(first, second)


@pytest.mark.parametrize("suggest_by", ["visible", "masked"])
def test_no_pass_has_more_windows_than_asked_for_and_all_are_counted(model, texts, rows_seen, suggest_by):
    told = []
    count = {"on_windows": lambda *numbers: told.append(numbers)}
    proofs = model.proofread(texts, batch_size=3, correct=True, suggest_by=suggest_by, **count)
    assert [done for done, _ in told] == torch.tensor(rows_seen).cumsum(0).tolist()
    assert all(done <= known for done, known in told) and told[-1][0] == told[-1][1]
    assert max(rows_seen) == 3 and sum(rows_seen) == sum(proof.forward_passes for proof in proofs)
    assert max(proof.rounds for proof in proofs) > 1
    rows_seen.clear()
    proofs = model.proofread(texts, top_k=0, suggest_by="masked")
    assert sum(rows_seen) == sum(proof.windows for proof in proofs) == sum(proof.forward_passes for proof in proofs)


def test_without_a_table_a_ramp_serves_and_says_so(model, texts, warnings):
    model.proofread([texts[2]])
    assert not warnings
    model.calibration = None
    proof = model.proofread([texts[2]])[0]
    expected = CriticCalibration.ramp().error_probability(model.critic_scores(texts[2][None])[0])
    assert torch.allclose(proof.error_probabilities.double(), expected)
    assert len(warnings) == 1 and "not calibrated" in warnings[0] and "scripts/calibrate.py" in warnings[0]


def test_masks_and_what_is_excepted_are_not_judged_but_seen(model, texts):
    text = texts[3].clone()
    text[4] = 1
    judged = torch.ones(12, dtype=torch.bool)
    judged[7] = False
    proof = model.proofread([text], judged=[judged], threshold=0.0, suggest_by="masked")[0]
    assert proof.error_probabilities[[4, 7]].tolist() == [0.0, 0.0] and not proof.doubtful[[4, 7]].any()
    plain = model.proofread([text])[0]
    assert torch.equal(proof.error_probabilities[judged], plain.error_probabilities[judged])
    # A hole has its filling from the pass that judged, in which it was the only one.
    probabilities = model(text[None]).logits[0, 4].index_fill(0, torch.tensor([0, 1]), float("-inf")).softmax(-1)
    assert proof.candidate_probabilities[4].tolist() == pytest.approx(probabilities.topk(5).values.tolist(), abs=1e-5)


def test_nothing_in_nothing_out(model):
    assert model.proofread([]) == []
    proof = model.proofread([torch.tensor([], dtype=torch.long)], correct=True)[0]
    assert proof.error_probabilities.shape == (0,) and proof.candidate_ids.shape == (0, 5)
    assert (proof.windows, proof.forward_passes, proof.rounds, proof.settled) == (0, 0, 0, True)
    assert proof.corrected_expected_errors == 0.0


# ---- candidates ----


def test_candidates_are_the_likeliest_other_tokens_of_the_pass_that_judged(model, texts):
    text = texts[3]
    proof = model.proofread([text], suppressed_ids=[5, 6], top_k=4)[0]
    logits = model(text[None]).logits[0].index_fill(-1, torch.tensor([0, 1, 5, 6]), float("-inf"))
    probabilities = logits.scatter(-1, text[:, None], float("-inf")).softmax(-1)
    values, ids = probabilities.topk(4, dim=-1)
    assert torch.equal(proof.candidate_ids, ids)
    assert torch.allclose(proof.candidate_probabilities.double(), values, atol=1e-5)
    assert not torch.isin(proof.candidate_ids, torch.tensor([0, 1, 5, 6])).any()
    assert (proof.candidate_ids != text[:, None]).all() and proof.forward_passes == 1


def test_more_candidates_than_there_are_tokens_have_no_probability(model, texts):
    proof = model.proofread([texts[2]], top_k=1000)[0]
    assert proof.candidate_ids.shape == (5, 32)
    assert ((proof.candidate_probabilities > 0).sum(-1) == 29).all()
    assert torch.allclose(proof.candidate_probabilities.sum(-1), torch.ones(5))
    none = model.proofread([texts[2]], suppressed_ids=range(32))[0]
    assert not none.candidate_probabilities.any()


def test_masked_candidates_come_from_a_pass_that_does_not_see_the_doubtful(model, texts):
    text = texts[3]
    threshold = model.proofread([text])[0].error_probabilities.median().item()
    proof = model.proofread([text], suggest_by="masked", threshold=threshold)[0]
    assert proof.forward_passes == 2 and 0 < proof.doubtful.sum() < 12
    logits = model(text.masked_fill(proof.doubtful, 1)[None]).logits[0].index_fill(-1, torch.arange(2), float("-inf"))
    probabilities = logits.scatter(-1, text[:, None], float("-inf")).softmax(-1)
    expected = probabilities.topk(5, dim=-1).values[proof.doubtful]
    assert torch.allclose(proof.candidate_probabilities[proof.doubtful].double(), expected, atol=1e-5)
    assert not proof.candidate_probabilities[~proof.doubtful].any()
    # Nothing doubtful, no second pass.
    assert model.proofread([text], suggest_by="masked", threshold=1.0)[0].forward_passes == 1


def test_a_model_that_did_not_learn_to_correct_is_asked_with_masks(tiny_model, texts):
    for alpha, passes in ((0.0, 2), (0.1, 1)):
        model = tiny_model(max_position_embeddings=12, correction_alpha=alpha)
        assert model.proofread([texts[3]])[0].forward_passes == passes


# ---- corrections ----


def test_one_round_replaces_what_is_doubtful_where_another_token_is_right_more_likely(model, texts):
    text = texts[-1]
    proof = model.proofread([text], correct=True, max_rounds=1)[0]
    chance, wrong = proof.candidate_probabilities[:, 0], proof.error_probabilities
    expected = torch.where(wrong * chance > 1 - wrong, proof.candidate_ids[:, 0], text)
    assert proof.rounds == 1 and 0 < (expected != text).sum() < len(text)
    again = model.proofread([expected])[0].error_probabilities.double().sum().item()
    kept = expected if again < wrong.double().sum() else text
    assert torch.equal(proof.corrected_ids, kept)
    # A threshold above even odds holds back.
    held = model.proofread([text], correct=True, max_rounds=1, threshold=1.0)[0]
    assert torch.equal(held.corrected_ids, text) and held.settled and held.rounds == 0


@pytest.mark.parametrize("suggest_by", ["visible", "masked"])
def test_reading_again_only_what_changed_is_reading_all_again(model, texts, suggest_by):
    for proof in model.proofread(texts, correct=True, suggest_by=suggest_by, stride=3, max_rounds=5):
        fresh = model.proofread([proof.corrected_ids], correct=True, suggest_by=suggest_by, stride=3)[0]
        assert proof.corrected_expected_errors == pytest.approx(fresh.error_probabilities.double().sum().item())
        assert proof.corrected_expected_errors <= proof.error_probabilities.double().sum().item()
        assert proof.settled == (fresh.rounds == 0)
        assert proof.forward_passes <= (proof.rounds + 1) * proof.windows * (2 if suggest_by == "masked" else 1)


def test_one_round_in_a_long_text_reads_only_the_windows_around_it(model, rows_seen):
    torch.manual_seed(0)
    text = torch.randint(2, 32, (200,))
    plain = model.proofread([text], stride=0)[0]
    judged = torch.zeros(200, dtype=torch.bool)
    even = plain.error_probabilities * plain.candidate_probabilities[:, 0] > 1 - plain.error_probabilities
    judged[even.nonzero()[0]] = True
    rows_seen.clear()
    proof = model.proofread([text], judged=[judged], stride=0, correct=True, max_rounds=1)[0]
    assert proof.rounds == 1 and sum(rows_seen) == proof.forward_passes == proof.windows + 1


# ---- refusals ----


@pytest.mark.parametrize(
    ("kwargs", "parts"),
    [
        ({"window": 13}, ("`window`", "from 1 to 12", "got 13")),
        ({"window": 0}, ("`window`", "got 0")),
        ({"window": 2.5}, ("`window`", "got 2.5")),
        ({"window": 6, "stride": 6}, ("`stride`", "from 0 to 5", "got 6")),
        ({"stride": -1}, ("`stride`", "got -1")),
        ({"batch_size": 0}, ("`batch_size`", "at least 1", "got 0")),
        ({"top_k": -1}, ("`top_k`", "got -1")),
        ({"top_k": True}, ("`top_k`", "got True")),
        ({"threshold": 1.5}, ("`threshold`", "[0, 1]", "got 1.5")),
        ({"threshold": "high"}, ("`threshold`", "got 'high'")),
        ({"suggest_by": "both"}, ("`suggest_by`", "auto, visible, masked", "got 'both'")),
        ({"correct": True, "max_rounds": 0}, ("`max_rounds`", "got 0")),
        ({"max_rounds": 3}, ("`max_rounds`", "`correct=True`", "got 3")),
        ({"sequences": [torch.tensor([32])]}, ("`sequences`", "vocab_size = 32", "tokenizer")),
        ({"sequences": [torch.zeros(1, 3)]}, ("`sequences`", "(1, 3)")),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(model, texts, kwargs, parts):
    with refused(*parts):
        model.proofread(**{"sequences": texts, **kwargs})


def test_a_model_that_can_say_nothing_is_refused(tiny_model, texts):
    untrained = tiny_model()
    torch.nn.init.zeros_(untrained.critic_head.weight)
    broken, infinite, speechless = tiny_model(), tiny_model(), tiny_model()
    torch.nn.init.constant_(broken.critic_head.weight, float("nan"))
    with torch.no_grad():
        infinite.critic_head.weight[0, 0] = float("inf")
        speechless.lm_head.weight[7] = float("nan")
    cases = [
        (tiny_model(add_critic_head=False), "got none: train one with `add_critic_head=True`"),
        (untrained, "got a critic head that was never trained: train one"),
        (broken, "must give finite critic scores, got NaN or infinity: load it in another dtype"),
        (infinite, "must give finite critic scores, got NaN or infinity: load it in another dtype"),
        (speechless, "must give finite logits, got NaN or infinity: load it in another dtype"),
    ]
    for model, part in cases:
        with refused(part):
            model.proofread(texts)


# ---- does it work ----


@cache
def proofreader(correction_alpha: float, steps: int = 200, length: int = 12):
    """
    A tiny model that knows texts of one letter repeated, of the ids 6 to 13, and what is wrong in them: letters are
    exchanged in training and the critic is judged on all.
    """
    shape = {**SIZES, "hidden_size": 32, "max_position_embeddings": length, "initializer_range": 0.1}
    critic = {"critic_head_type": "mlp", "critic_alpha": 2.0, "critic_target_scope": "all", "add_critic_head": True}
    torch.manual_seed(0)
    model = CriticGPTForMaskedLM(CriticGPTConfig(**shape, **critic, correction_alpha=correction_alpha)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        truth = torch.randint(6, 14, (32, 1)).expand(-1, length).contiguous()
        draw = torch.rand(truth.shape)
        masked, wrong = draw < 0.3 * torch.rand(32, 1), draw > 0.85
        text = torch.where(wrong, torch.randint(6, 14, truth.shape), truth).masked_fill(masked, 1)
        # The language model learns to name the truth at a wrong visible position only if it is to correct.
        weights = (masked | (wrong & (correction_alpha > 0))).float()
        model(text, labels=truth, loss_weights=weights).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        decay.step()
    return model.eval()


@pytest.mark.slow
def test_planted_errors_are_found_and_corrected_wherever_they_stand(tokenizer):
    truth = torch.full((60,), 7)
    # At both ends, side by side, and on either side of the borders of windows of 12.
    planted = [0, 5, 6, 18, 29, 30, 47, 59]
    text = truth.clone()
    text[planted] = torch.tensor([8, 9, 9, 10, 11, 6, 12, 13])
    for case in ({}, {"stride": 0}, {"suggest_by": "masked"}):
        proof = proofreader(1.0).proofread([text], correct=True, **case)[0]
        assert proof.doubtful.nonzero().flatten().tolist() == planted, case
        assert (proof.candidate_ids[planted, 0] == 7).all() and torch.equal(proof.corrected_ids, truth)
        assert proof.settled and proof.corrected_expected_errors < 1 < proof.error_probabilities.sum()
    proofread = CriticProofreadPipeline(model=proofreader(1.0), tokenizer=tokenizer)
    result = proofread(tokenizer.decode(text), correct=True)
    assert result["corrected_text"] == "b" * 60
    # Neighbours are one span.
    assert [span["start"] for span in result["spans"]] == [0, 5, 18, 29, 47, 59]
    assert [span["replacement"] for span in result["spans"]] == ["b", "bb", "b", "bb", "b", "b"]


@pytest.mark.slow
def test_who_learnt_no_correction_names_the_truth_with_masks_better_than_without():
    truth, planted = torch.full((60,), 7), torch.arange(2, 60, 7)
    text = truth.index_fill(0, planted, 11)
    model = proofreader(0.0)
    masked, visible = (model.proofread([text], suggest_by=by)[0] for by in ("auto", "visible"))
    assert torch.equal(masked.doubtful.nonzero().flatten(), planted)
    assert visible.forward_passes == visible.windows < masked.forward_passes
    assert (masked.candidate_ids[planted, 0] == 7).all()
    named = [
        proof.candidate_probabilities[planted][proof.candidate_ids[planted] == 7].sum() for proof in (masked, visible)
    ]
    assert named[0] > named[1]
