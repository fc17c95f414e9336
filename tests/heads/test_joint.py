# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the joint head: what it learns, what it leaves alone, and how tokens are drawn by it."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers.generation import LogitsProcessorList

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.diffusion.corruption import given_positions
from critic_gpt.diffusion.randomness import race_size, sample_by_race, sample_inverse_cdf
from critic_gpt.generation.joint_draws import Draw, JointHead, Race, draw_jointly
from critic_gpt.generation.prediction import Prediction, draw_tokens, processed
from critic_gpt.heads.joint import JointReading


MASK, PAD, VOCAB, LENGTH = 1, 0, 8, 6
# What the first of two tokens makes of the logits of the second.
RELATION = torch.tensor([[2.0, -1.0, 0.0], [0.0, 1.5, -2.0], [-1.0, 0.0, 1.0]])


def config_of(**fields):
    size = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"mask_token_id": MASK, "pad_token_id": PAD, "max_position_embeddings": 16, "initializer_range": 0.2}
    return CriticGPTConfig(**{**size, **more, "add_joint_head": True, "joint_num_heads": 2, **fields})


def build(trained=True, seed=0, **fields):
    torch.manual_seed(seed)
    model = CriticGPTForMaskedLM(config_of(**fields)).eval()
    if trained and model.joint_head is not None:
        torch.nn.init.normal_(model.joint_head.output.weight, std=1.0)
    return model


# ---- what it leaves alone ----


def test_the_same_seed_gives_the_same_other_parameters_with_and_without_it():
    plain, joint = (build(trained=False, add_joint_head=on).state_dict() for on in (False, True))
    assert set(joint) - set(plain) == {f"joint_head.{name}.weight" for name in ("query", "key", "value", "output")}
    for name, tensor in plain.items():
        assert torch.equal(tensor, joint[name]), name


def test_a_fresh_head_changes_nothing_and_is_not_used():
    plain, fresh = build(add_joint_head=False), build(trained=False)
    assert not fresh.has_trained_joint_head and build().has_trained_joint_head
    ids = torch.full((3, LENGTH), MASK)
    assert torch.equal(plain(input_ids=ids).logits, fresh(input_ids=ids).logits)
    assert fresh.resolve_generation_config(remasking="none").token_draws == "independent"
    one, other = (model.generate(ids, num_steps=3, seed=1).sequences for model in (plain, fresh))
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"^`token_draws` must be independent for a model without a trained joint "):
        fresh.generate(ids, remasking="none", token_draws="joint", num_steps=3)


def test_the_critic_draws_jointly_by_default_and_the_methods_of_others_do_not():
    model = build(add_critic_head=True)
    torch.nn.init.normal_(model.critic_head.weight)
    assert model.resolve_generation_config(remasking="critic").token_draws == "joint"
    assert model.resolve_generation_config(remasking="critic", token_draws="independent").token_draws == "independent"
    for name in ("none", "prism", "proseco", "p2", "confidence"):
        assert model.resolve_generation_config(remasking=name).token_draws == "independent"


def test_its_loss_sends_nothing_to_the_trunk():
    model = build().train()
    labels = torch.randint(2, VOCAB, (4, LENGTH))
    output = model(input_ids=torch.full_like(labels, MASK), labels=labels)
    output.joint_loss.backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    # The tied LM head turns what was read into logits.
    assert reached == {
        "model.embed_tokens.weight",
        *(f"joint_head.{name}.weight" for name in ("query", "key", "value", "output")),
    }


def test_the_loss_is_the_cross_entropy_given_the_true_tokens():
    model = build()
    labels = torch.tensor([[2, 3, 4, 5, 6, 7]])
    given = torch.tensor([[True, False, False, True, False, False]])
    ids = torch.full_like(labels, MASK)
    ids[0, 2] = labels[0, 2]  # visible: neither given nor asked
    output = model(input_ids=ids, labels=labels, given_mask=given)
    memory = 0.0
    for place in (0, 3):
        value = model.joint_values(labels[:, place])
        memory = memory + output.joint_keys[:, :, place, :, None] * value[:, :, None, :]
    logits = output.logits + model.joint_shift(output.joint_queries, memory)
    logits[..., MASK] = float("-inf")
    expected = -logits.log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1)
    asked = torch.tensor([[False, True, False, False, True, True]])
    torch.testing.assert_close(output.joint_token_loss, expected.masked_fill(~asked, 0.0), rtol=1e-4, atol=1e-6)
    assert output.joint_loss.item() == pytest.approx(expected[0, [1, 4, 5]].mean().item(), rel=1e-4)
    # Without a choice there is none in evaluation, and one is drawn in training.
    assert model(input_ids=ids, labels=labels).joint_loss is None
    assert model.train()(input_ids=ids, labels=labels).joint_loss is not None


def test_what_is_given_is_part_of_the_masks_and_never_all_of_them():
    generator = torch.Generator().manual_seed(0)
    masked = torch.rand(2000, 30, generator=generator) < 0.5
    masked[0] = False
    share, order = torch.rand(2000, generator=generator), torch.rand(2000, 30, generator=generator)
    given = given_positions(masked, share, order)
    assert not (given & ~masked).any()
    count, number = masked.sum(-1), given.sum(-1)
    expected = (count + 1).float().pow(share).floor().long() - 1
    assert torch.equal(number, torch.minimum(expected, (count - 1).clamp(min=0)))
    assert (number[1:] < count[1:]).all() and (number == 0).any() and (number > 10).any()


# ---- how tokens are drawn ----


def toy(batch_size):
    """Two positions, three tokens, and a relation between them: marginals and one shift for each token drawn first."""
    marginals = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    probabilities = marginals.expand(batch_size, 2, 3)
    # One head of width 1: the key and the query are 1, and the value is the number of the token.
    ones = torch.ones(batch_size, 1, 2, 1)

    def shifted(scores, found):
        drawn = found.flatten()  # (n,): 0, or one more than the token
        return scores + torch.where(drawn[:, None] > 0, RELATION[(drawn.long() - 1).clamp(min=0)], 0.0)

    head = JointHead(ones, ones, lambda tokens: (tokens + 1.0)[..., None, None], shifted)
    nothing = torch.zeros(batch_size, 2)
    return Prediction(nothing.long(), nothing, probabilities.log()), head


def joint_of(batch_size, count, draw, first=0):
    prediction, head = toy(batch_size)
    eagerness = torch.zeros(batch_size, 2)
    eagerness[:, first] = 1.0
    everywhere = torch.ones(batch_size, 2, dtype=torch.bool)
    ids = torch.zeros(batch_size, 2, dtype=torch.long)
    draw = Draw(draw, LogitsProcessorList())
    return draw_jointly(prediction, ids, everywhere, eagerness, torch.zeros_like(eagerness), count, head, draw)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("first", [0, 1])
def test_tokens_are_drawn_by_the_chain_rule(first, count):
    size = 40_000
    drawn = joint_of(size, count, torch.rand(size, 2, generator=torch.Generator().manual_seed(3)), first)
    prediction, _ = toy(1)
    marginal = prediction.probabilities[0]
    for token in range(3):
        conditional = (marginal[1 - first].log() + RELATION[token]).softmax(-1)
        for other in range(3):
            p = (marginal[first, token] * conditional[other]).item()
            here = (drawn.tokens[:, first] == token) & (drawn.tokens[:, 1 - first] == other)
            z = (here.float().mean().item() - p) / math.sqrt(p * (1 - p) / size)
            assert abs(z) < 4.0, (token, other, z)
            # And each is reported with the probability it was drawn with.
            assert drawn.probability[here, 1 - first] == pytest.approx(conditional[other].item(), rel=1e-5)
            assert drawn.probability[here, first] == pytest.approx(marginal[first, token].item(), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_over_a_large_vocabulary_the_law_is_the_chain_rule_too(count):
    """The same relation between three tokens far apart among 1,500, drawn by races in place of one number each."""
    size, vocab, ids = 5_000, 1500, torch.tensor([3, 700, 1499])
    small, relate = toy(size)
    scores = torch.full((size, 2, vocab), float("-inf")).index_copy_(2, ids, small.scores)
    # By what guesses are made has nothing to do with the law.
    reading = JointReading(
        torch.nn.Linear(1, 8), lambda states: states.repeat(1, 200)[:, :vocab], torch.float32, "cpu"
    )

    class Related:
        at = reading.at

        def __call__(self, scores, found):
            return scores.index_copy(1, ids, relate.shifted(scores[:, ids], found))

    def values(tokens):
        return (torch.searchsorted(ids, tokens.contiguous()).clamp(max=2) + 1.0)[..., None, None]

    noise = torch.rand(size, 2, race_size(vocab), generator=torch.Generator().manual_seed(5)).clamp_(min=2.0**-24)
    race = Race(lambda columns, many: noise.gather(1, columns[..., None].expand(-1, -1, many)))
    masked, eagerness = torch.ones(size, 2, dtype=torch.bool), torch.tensor([[1.0, 0.0]]).expand(size, 2)
    found = draw_jointly(
        Prediction(small.tokens, small.probability, scores),
        small.tokens,
        masked,
        eagerness,
        torch.zeros(size, 2),
        count,
        relate._replace(values=values, shifted=Related()),
        Draw(torch.rand(size, 2), LogitsProcessorList()),
        race,
    )
    marginal = toy(1)[0].probabilities[0]
    for token in range(3):
        conditional = (marginal[1].log() + RELATION[token]).softmax(-1)
        for other in range(3):
            p = (marginal[0, token] * conditional[other]).item()
            here = (found.tokens[:, 0] == ids[token]) & (found.tokens[:, 1] == ids[other])
            z = (here.float().mean().item() - p) / math.sqrt(p * (1 - p) / size)
            assert abs(z) < 4.0, (token, other, z)
            assert found.probability[here, 1] == pytest.approx(conditional[other].item(), rel=1e-5)


def test_without_a_turn_each_is_drawn_by_itself_and_without_chance_the_likeliest_is_taken():
    size = 20_000
    uniforms = torch.rand(size, 2, generator=torch.Generator().manual_seed(4))
    tokens = joint_of(size, 0, uniforms).tokens
    for place, marginal in enumerate(toy(1)[0].probabilities[0]):
        assert torch.bincount(tokens[:, place], minlength=3) / size == pytest.approx(marginal.numpy(), abs=0.015)
    # 0 is the likeliest of the first, and makes 0 likelier than 1 for the second.
    assert joint_of(1, 2, None).tokens.tolist() == [[0, 0]]


@pytest.mark.parametrize("likeliest", [False, True])
@pytest.mark.parametrize(
    ("vocab", "count", "fields"),
    [
        (VOCAB, 9, {}),
        (VOCAB, 0, {}),
        (2000, 5, {}),
        (2000, 0, {}),
        (5000, 40, {}),
        (5000, 40, {"joint_num_heads": 1, "joint_head_dim": 8}),  # smaller than the LM head: guesses are made
        (1500, 40, {"joint_num_heads": 2, "joint_head_dim": 4, "position_embedding_type": "absolute"}),
    ],
)
def test_tokens_are_those_of_drawing_one_after_the_other(vocab, count, fields, likeliest):
    """As it is written down: a memory that each token is added to before the next one is drawn."""
    model = build(vocab_size=vocab, max_position_embeddings=40, **fields)
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((3, 40), MASK)
    ids[0, 10:], ids[1, ::2] = 5, 6  # rows with 10, 20 and 40 masks
    masked, shape = ids == MASK, ids.shape
    with torch.no_grad():
        output = model(input_ids=ids)
        scores = processed(output.logits, ids, [PAD, MASK])
        eagerness, uniforms = (torch.rand(shape, generator=generator) for _ in range(2))
        numbers = torch.rand(*shape, race_size(vocab), generator=generator).clamp_(min=2.0**-24)
        head = JointHead(output.joint_queries, output.joint_keys, model.joint_values, model.joint_reading())
        draw, alone = Draw(None if likeliest else uniforms, LogitsProcessorList()), draw_tokens(ids, scores, None)
        race = None if likeliest else lambda columns, many: numbers.gather(1, columns[..., None].expand(-1, -1, many))
        race = Race(race) if vocab > 1024 else None
        found = draw_jointly(alone, ids, masked, eagerness, torch.zeros(shape), count, head, draw, race)
        expected, chance = alone.tokens.clone(), alone.probability.clone()
        for row in range(3):
            memory = torch.zeros(1, *output.joint_keys.shape[1:2], *[output.joint_keys.shape[-1]] * 2)
            order = eagerness[row].masked_fill(~masked[row], -1.0).argsort(descending=True)[: int(masked[row].sum())]
            for turn, place in enumerate(order.tolist()):
                shift = model.joint_shift(output.joint_queries[row : row + 1, :, place, None], memory)[0, 0]
                probabilities = (scores[row, place] + shift).softmax(-1)
                if likeliest:
                    token = probabilities.argmax()
                elif race is None:
                    token = sample_inverse_cdf(probabilities, uniforms[row, place])
                else:
                    token = sample_by_race(probabilities, -numbers[row, place].log())
                expected[row, place] = token
                chance[row, place] = probabilities[token]
                if turn < count:
                    value, key = model.joint_values(token[None]), output.joint_keys[row : row + 1, :, place]
                    memory = memory + key[..., :, None] * value[..., None, :]
    assert torch.equal(found.tokens, expected)
    torch.testing.assert_close(found.probability, chance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "vocab"), [("rotary", VOCAB), ("absolute", VOCAB), ("rotary", 1500)])
def test_a_row_does_not_depend_on_the_batch_or_its_padding(kind, vocab):
    model = build(position_embedding_type=kind, vocab_size=vocab, joint_head_dim=4).double()
    rows = [[3, MASK, MASK, 4, MASK], [MASK, 5, MASK], [MASK] * 7]
    padded = torch.tensor([row + [PAD] * (7 - len(row)) for row in rows])
    fields = {"num_steps": 2, "token_draws": "joint", "remasking": "none"}
    together = model.generate(padded, seed=[7, 8, 9], **fields).sequences
    for number, row in enumerate(rows):
        alone = model.generate(torch.tensor([row]), seed=[7 + number], **fields).sequences
        assert together[number, : len(row)].tolist() == alone[0].tolist()


@pytest.mark.parametrize("unmasking", ["random", "entropy", "left_to_right", "entropy_bound", "confidence_threshold"])
def test_every_order_of_unmasking_takes_joint_draws(unmasking):
    model = build(add_critic_head=True)
    torch.nn.init.normal_(model.critic_head.weight)
    ids = torch.full((4, 12), MASK)
    for temperature in (0.0, 0.7):
        fields = {"num_steps": 12, "unmasking": unmasking, "temperature": temperature, "token_draws": "joint"}
        output = model.generate(ids, seed=1, **fields)
        assert not (output.sequences <= MASK).any() and output.forward_passes <= 12


# ---- what it is for ----


@pytest.mark.parametrize(("kind", "group"), [("rotary", LENGTH), ("absolute", 2)])
def test_it_learns_that_tokens_drawn_in_one_pass_belong_together(kind, group):
    """Rows of groups of equal tokens, all drawn in a single pass: what no prediction by itself can know."""
    model = build(trained=False, position_embedding_type=kind).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(250):
        labels = torch.randint(2, VOCAB, (64, LENGTH // group)).repeat_interleave(group, dim=-1)
        masked = torch.rand(labels.shape) < torch.rand(64, 1)
        masked[:, 0] = True
        ids = labels.masked_fill(masked, MASK)
        loss = model(input_ids=ids, labels=labels.masked_fill(~masked, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ids = torch.full((500, LENGTH), MASK)
    shares = {}
    for draws in ("independent", "joint"):
        tokens = model.eval().generate(ids, num_steps=1, seed=0, remasking="none", token_draws=draws).sequences
        shares[draws] = (tokens[:, ::2] == tokens[:, 1::2]).float().mean().item()
    assert shares["independent"] == pytest.approx(1 / 6, abs=0.05)
    assert shares["joint"] > 0.9


def test_it_survives_saving_and_a_model_without_it_loads_its_folder(tmp_path, caplog):
    model = build()
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.has_trained_joint_head
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    plain, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, add_joint_head=False, output_loading_info=True)
    assert plain.joint_head is None and not info["unexpected_keys"] and not info["missing_keys"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"joint_num_heads": 0}, "`joint_num_heads` must be at least 1, got 0: "),
        ({"joint_head_dim": 5}, "`joint_head_dim` must be even for rotary positions, got 5: "),
        ({"joint_alpha": -1.0}, "`joint_alpha` must be a finite number of at least 0, got -1.0: "),
    ],
)
def test_fields_that_make_no_head_are_refused(fields, message):
    with pytest.raises(StrictDataclassClassValidationError) as error:
        config_of(**fields)
    assert message in str(error.value)
    assert config_of(joint_head_dim=5, position_embedding_type="absolute").joint_head_dim == 5
