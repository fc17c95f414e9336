# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import json
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Trainer,
    TrainingArguments,
)

from critic_gpt import (
    CriticCalibration,
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
    build_critic_artifacts_from_logits,
)
from critic_gpt.diffusion.losses import token_cross_entropy
from critic_gpt.modeling_critic_gpt import CriticGPTPreTrainedModel


# B batch, T positions, V vocabulary
PAD, MASK, VOCAB, LENGTH = 0, 1, 32, 10
TINY = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "mask_token_id": MASK,
    "pad_token_id": PAD,
    # Large initial weights, or everything would agree to 1e-5 for want of any signal.
    "initializer_range": 0.3,
}
VARIANTS = [
    {"position_embedding_type": position, "use_bias": bias, "is_causal": causal}
    for position in ("rotary", "absolute")
    for bias in (False, True)
    for causal in (False, True)
]
each_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: f"{v['position_embedding_type']}-bias{v['use_bias']:d}-causal{v['is_causal']:d}"
)


def make_config(**changes) -> CriticGPTConfig:
    return CriticGPTConfig(**{**TINY, **changes})


def build(cls=CriticGPTForMaskedLM, seed=0, **changes):
    torch.manual_seed(seed)
    return cls(make_config(**changes)).eval()


def build_with_critic(seed=0, **changes) -> CriticGPTForMaskedLM:
    """A model whose critic head and biases are no longer zero."""
    model = build(seed=seed, add_critic_head=True, **changes)
    with torch.no_grad():
        for parameter in model.critic_head.parameters():
            parameter.normal_()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model


def make_batch(seed=1, batch_size=3, length=LENGTH) -> dict[str, torch.Tensor]:
    """Masked ids and labels; the last row ends in padding."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(2, VOCAB, (batch_size, length), generator=generator)
    masked = torch.rand(clean.shape, generator=generator) < 0.5
    masked[:, 0], masked[:, 1] = True, False
    attention_mask = torch.ones_like(clean)
    attention_mask[-1, -3:] = 0
    masked &= attention_mask.bool()
    input_ids = clean.masked_fill(masked, MASK).masked_fill(attention_mask == 0, PAD)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": clean.masked_fill(~masked, -100),
    }


def make_draws(seed=2, batch_size=3, length=LENGTH) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch_size, length)
    return {
        "fill_mask": torch.rand(shape, generator=generator) < 0.6,
        "fill_uniforms": torch.rand(shape, generator=generator),
    }


def count_trunk_passes(model) -> list:
    passes = []
    model.model.register_forward_hook(lambda *args: passes.append(1))
    return passes


def assert_same_outputs(one, other, where=slice(None), atol=1e-5):
    """Hidden states, logits and critic logits agree at the positions `where` of each output."""
    torch.testing.assert_close(one.logits[where], other.logits[where], atol=atol, rtol=0)
    if one.critic_logits is not None:
        torch.testing.assert_close(one.critic_logits[where], other.critic_logits[where], atol=atol, rtol=0)
    for a, b in zip(one.hidden_states, other.hidden_states, strict=True):
        torch.testing.assert_close(a[where], b[where], atol=atol, rtol=0)


@pytest.fixture
def warnings_seen():
    """Texts of all warnings of Transformers and of ours."""
    seen = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("transformers", "critic_gpt")]
    for logger in loggers:
        logger.addHandler(handler)
    yield seen
    for logger in loggers:
        logger.removeHandler(handler)


# ---- equivalences of the trunk ----


@each_variant
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing_on_either_side(variant, side):
    model = build_with_critic(**variant)
    ids = make_batch()["input_ids"][:2]
    plain = model(ids, output_hidden_states=True)
    padding = torch.full((2, 4), PAD)
    parts = [ids, padding] if side == "right" else [padding, ids]
    padded = torch.cat(parts, dim=1)
    padded_output = model(padded, attention_mask=(padded != PAD).long(), output_hidden_states=True)
    where = slice(0, LENGTH) if side == "right" else slice(4, 4 + LENGTH)
    torch.testing.assert_close(padded_output.logits[:, where], plain.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded_output.critic_logits[:, where], plain.critic_logits, atol=1e-5, rtol=0)
    for a, b in zip(padded_output.hidden_states, plain.hidden_states, strict=True):
        torch.testing.assert_close(a[:, where], b, atol=1e-5, rtol=0)


@each_variant
def test_a_batch_is_its_rows(variant):
    model = build_with_critic(**variant)
    ids = make_batch()["input_ids"][:2]
    together = model(ids, output_hidden_states=True)
    for row in range(2):
        alone = model(ids[row : row + 1], output_hidden_states=True)
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.critic_logits[row], alone.critic_logits[0], atol=1e-5, rtol=0)


@each_variant
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_mask_of_ones_is_no_mask_bit_for_bit(variant, attention):
    model = build_with_critic(**variant)
    model.set_attn_implementation(attention)
    ids = make_batch()["input_ids"]
    one, other = (model(ids, attention_mask=mask, output_hidden_states=True) for mask in (None, torch.ones_like(ids)))
    assert_same_outputs(one, other, atol=0)


@each_variant
def test_eager_attention_equals_sdpa(variant):
    model = build_with_critic(**variant)
    batch = make_batch()
    outputs = []
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        outputs.append(model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True))
    assert_same_outputs(*outputs, where=batch["attention_mask"].bool())


@each_variant
def test_saved_equals_loaded_bit_for_bit(variant, tmp_path):
    model = build_with_critic(**variant)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    for parameter in loaded.parameters():
        # Out of the mapped file: products with a single vector round by where the weights lie in memory.
        parameter.data = parameter.data.clone()
    batch = make_batch()
    one, other = (m(batch["input_ids"], batch["attention_mask"], output_hidden_states=True) for m in (model, loaded))
    assert_same_outputs(one, other, atol=0)
    assert loaded.state_dict().keys() == model.state_dict().keys()


@each_variant
def test_what_is_under_the_padding_does_not_matter(variant):
    model = build_with_critic(**variant)
    batch = make_batch()
    real = batch["attention_mask"].bool()
    changed = torch.where(real, batch["input_ids"], torch.full_like(batch["input_ids"], 17))
    one, other = (
        model(ids, batch["attention_mask"], output_hidden_states=True) for ids in (batch["input_ids"], changed)
    )
    assert_same_outputs(one, other, where=real, atol=0)


@each_variant
def test_the_last_token_changes_the_first_prediction_unless_causal(variant):
    model = build_with_critic(**variant)
    ids = make_batch()["input_ids"][:1]
    changed = ids.clone()
    changed[0, -1] = 5 if ids[0, -1] != 5 else 6
    difference = (model(ids).logits - model(changed).logits).abs().amax(dim=-1)[0]
    assert difference[-1] > 1e-3
    if variant["is_causal"]:
        assert not difference[:-1].any()
    else:
        assert (difference > 1e-6).all() and difference[0] > 1e-4


@pytest.mark.parametrize("position", ["rotary", "absolute"])
def test_the_order_of_tokens_matters(position):
    model = build(position_embedding_type=position)
    ids = torch.tensor([[2, 3, 4, 5]])
    turned = ids.flip(1)
    assert (model(ids).logits.flip(1) - model(turned).logits).abs().max() > 1e-3


def copy_linear(ours: nn.Linear, weight: torch.Tensor, bias: torch.Tensor):
    ours.weight.data.copy_(weight)
    ours.bias.data.copy_(bias)


@torch.no_grad()
def test_the_weights_of_gpt2_give_the_logits_of_gpt2():
    torch.manual_seed(0)
    twin = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB,
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=16,
            activation_function="gelu",
            initializer_range=0.3,
        )
    ).eval()
    for parameter in twin.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    ours = build(position_embedding_type="absolute", use_bias=True, is_causal=True)
    source = twin.transformer
    ours.model.embed_tokens.weight.copy_(source.wte.weight)
    ours.model.embed_positions.weight.copy_(source.wpe.weight)
    ours.model.norm.load_state_dict(source.ln_f.state_dict())
    for layer, block in zip(ours.model.layers, source.h, strict=True):
        layer.input_layernorm.load_state_dict(block.ln_1.state_dict())
        layer.post_attention_layernorm.load_state_dict(block.ln_2.state_dict())
        weights, biases = block.attn.c_attn.weight.T.chunk(3), block.attn.c_attn.bias.chunk(3)
        for name, weight, bias in zip("qkv", weights, biases, strict=True):
            copy_linear(getattr(layer.self_attn, f"{name}_proj"), weight, bias)
        copy_linear(layer.self_attn.o_proj, block.attn.c_proj.weight.T, block.attn.c_proj.bias)
        copy_linear(layer.mlp.up_proj, block.mlp.c_fc.weight.T, block.mlp.c_fc.bias)
        copy_linear(layer.mlp.down_proj, block.mlp.c_proj.weight.T, block.mlp.c_proj.bias)
    ids = make_batch()["input_ids"]
    torch.testing.assert_close(ours(ids).logits, twin(ids).logits, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_the_weights_of_a_rotary_gpt_neox_give_its_logits():
    torch.manual_seed(0)
    twin = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            hidden_act="gelu",
            use_parallel_residual=False,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
            tie_word_embeddings=True,
            initializer_range=0.3,
        )
    ).eval()
    ours = build(use_bias=True, is_causal=True)
    source = twin.gpt_neox
    ours.model.embed_tokens.weight.copy_(source.embed_in.weight)
    ours.model.norm.load_state_dict(source.final_layer_norm.state_dict())
    for layer, block in zip(ours.model.layers, source.layers, strict=True):
        layer.input_layernorm.load_state_dict(block.input_layernorm.state_dict())
        layer.post_attention_layernorm.load_state_dict(block.post_attention_layernorm.state_dict())
        joint = block.attention.query_key_value  # (heads, 3, head_dim) rows
        weights, biases = joint.weight.view(2, 3, 8, 16), joint.bias.view(2, 3, 8)
        for i, name in enumerate("qkv"):
            projection = getattr(layer.self_attn, f"{name}_proj")
            copy_linear(projection, weights[:, i].reshape(16, 16), biases[:, i].reshape(16))
        copy_linear(layer.self_attn.o_proj, block.attention.dense.weight, block.attention.dense.bias)
        copy_linear(layer.mlp.up_proj, block.mlp.dense_h_to_4h.weight, block.mlp.dense_h_to_4h.bias)
        copy_linear(layer.mlp.down_proj, block.mlp.dense_4h_to_h.weight, block.mlp.dense_4h_to_h.bias)
    ids = make_batch()["input_ids"]
    torch.testing.assert_close(ours(ids).logits, twin(ids).logits, atol=1e-4, rtol=1e-5)


# ---- initial weights ----


@pytest.mark.parametrize("cls", [CriticGPTModel, CriticGPTForMaskedLM])
def test_residual_projections_start_smaller_by_the_root_of_their_number(cls):
    model = build(cls, hidden_size=64, num_hidden_layers=8, initializer_range=0.02, use_bias=True)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            assert parameter.std().item() == pytest.approx(0.02 / 16**0.5, rel=0.1), name
        elif parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
        elif name.endswith("norm.weight"):
            assert (parameter == 1).all(), name
        else:
            assert not parameter.any(), name


def test_the_size_of_a_tiny_model_is_the_sum_of_its_parts():
    width, layers = 16, 2
    block = 4 * width * width + 8 * width * width + 2 * width
    expected = VOCAB * width + layers * block + width
    assert build().num_parameters() == expected
    assert build(add_critic_head=True).num_parameters() == expected + width


# ---- no critic, no trace of one ----


class PlainMaskedLM(CriticGPTPreTrainedModel):
    """The same trunk and LM head, written without knowledge of any critic."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = CriticGPTModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask, labels):
        logits = self.lm_head(self.model(input_ids, attention_mask).last_hidden_state)
        allowed = logits.index_fill(-1, torch.tensor([MASK]), float("-inf"))
        token_loss = nn.functional.cross_entropy(allowed.flatten(0, 1), labels.flatten(), reduction="none")
        return token_loss.sum() / (labels != -100).sum(), logits


@pytest.mark.parametrize("tied", [True, False])
def test_without_a_critic_everything_is_bit_identical_to_a_model_that_never_heard_of_one(tied):
    changes = {"tie_word_embeddings": tied, "hidden_dropout": 0.2, "attention_dropout": 0.2}
    plain = build(PlainMaskedLM, **changes)
    state_after_plain = torch.get_rng_state()
    ours = build(**changes)
    assert torch.equal(torch.get_rng_state(), state_after_plain)
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in plain.state_dict().items())
    batch = make_batch()
    torch.manual_seed(5)
    loss, logits = plain.train()(**batch)
    state_after_plain = torch.get_rng_state()
    torch.manual_seed(5)
    output = ours.train()(**batch)
    assert torch.equal(torch.get_rng_state(), state_after_plain)
    assert torch.equal(output.logits, logits) and torch.equal(output.loss, loss)
    loss.backward()
    output.loss.backward()
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    assert output.critic_logits is None and output.critic_loss is None
    assert set(output) == {"loss", "logits", "lm_loss", "lm_token_loss"}


LINEAR = {"critic_head.weight"}
MLP = {"critic_head.dense.weight", "critic_head.output.weight"}
each_head = pytest.mark.parametrize(("head", "names"), [("linear", LINEAR), ("mlp", MLP)], ids=["linear", "mlp"])


@pytest.mark.parametrize("tied", [True, False])
@each_head
def test_the_same_seed_gives_the_same_other_parameters_with_a_critic(head, names, tied):
    without = build(tie_word_embeddings=tied)
    state_after = torch.get_rng_state()
    with_critic = build(tie_word_embeddings=tied, add_critic_head=True, critic_head_type=head)
    assert torch.equal(torch.get_rng_state(), state_after)
    states = with_critic.state_dict()
    assert set(states) - set(without.state_dict()) == names
    assert all(torch.equal(tensor, states[name]) for name, tensor in without.state_dict().items())
    batch = make_batch()
    one, other = without(**batch), with_critic(**batch)
    assert torch.equal(one.logits, other.logits) and torch.equal(one.lm_loss, other.lm_loss)


def test_a_fresh_critic_is_exactly_zero_and_not_trained():
    model = build(add_critic_head=True)
    assert model.critic_head.weight.shape == (1, 16) and not model.critic_head.weight.any()
    assert not model.critic_head.weight.is_meta and model.critic_head.weight.requires_grad
    assert model.has_trained_critic is False
    assert build().has_trained_critic is False
    assert build_with_critic().has_trained_critic is True


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_fresh_hidden_layer_is_drawn_like_other_weights_and_its_critic_says_one_half(use_bias):
    fields = {"add_critic_head": True, "critic_head_type": "mlp", "hidden_size": 64, "use_bias": use_bias}
    model = build(**fields)
    dense = model.critic_head.dense
    assert dense.weight.std().item() == pytest.approx(0.3, rel=0.05) and dense.weight.mean().abs() < 0.02
    assert (dense.bias is not None) is use_bias and (dense.bias is None or not dense.bias.any())
    assert not model.critic_head.output.weight.any() and model.has_trained_critic is False
    assert (model(make_batch()["input_ids"]).critic_logits == 0).all()
    assert torch.equal(dense.weight, build(**fields).critic_head.dense.weight)
    assert not torch.equal(dense.weight, build(seed=1, **fields).critic_head.dense.weight)
    with torch.no_grad():
        model.critic_head.output.weight[0, 3] = 1e-3
    assert model.has_trained_critic is True


def test_the_hidden_layer_is_not_what_is_drawn_next():
    model = build(add_critic_head=True, critic_head_type="mlp", initializer_range=1.0)
    following = torch.randn(16, 16)
    correlation = (model.critic_head.dense.weight * following).mean()
    assert correlation.abs() < 0.3


def test_an_mlp_critic_is_two_layers_around_the_activation():
    model = build_with_critic(critic_head_type="mlp", use_bias=True, hidden_act="relu")
    ids = make_batch()["input_ids"]
    states, head = model.model(ids).last_hidden_state, model.critic_head
    hidden = torch.relu(states @ head.dense.weight.T + head.dense.bias)
    torch.testing.assert_close(model(ids).critic_logits, (hidden @ head.output.weight.T).squeeze(-1))
    assert build_with_critic(critic_head_type="mlp").num_parameters() == build().num_parameters() + 16 * 16 + 16


def test_an_mlp_critic_learns_in_all_its_layers():
    model = build(add_critic_head=True, critic_head_type="mlp", use_bias=True).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):  # the last layer is zero at first, and passes nothing on
        optimizer.zero_grad()
        model(**make_batch(), **make_draws()).loss.backward()
        optimizer.step()
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]


def test_an_mlp_critic_survives_saving(tmp_path, warnings_seen):
    model = build_with_critic(critic_head_type="mlp")
    model.save_pretrained(tmp_path)
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not warnings_seen
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert loaded.has_trained_critic


def test_the_critic_is_announced_with_its_weight_and_only_where_it_is(caplog):
    with caplog.at_level(logging.INFO, logger="critic_gpt.modeling_critic_gpt"):
        build()
        assert not caplog.records
        build(add_critic_head=True, critic_alpha=0.25)
    assert [record.getMessage() for record in caplog.records] == ["Critic head on, critic_alpha = 0.25."]


@pytest.mark.parametrize(("before", "head"), [(None, "linear"), (None, "mlp"), ("linear", "mlp"), ("mlp", "linear")])
def test_a_checkpoint_without_such_a_critic_gains_a_fresh_head_that_is_reported_missing(
    tmp_path, warnings_seen, before, head
):
    names = MLP if head == "mlp" else LINEAR
    old = build() if before is None else build_with_critic(critic_head_type=before)
    old.save_pretrained(tmp_path)
    fields = {"add_critic_head": True, "critic_head_type": head}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, **fields, output_loading_info=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert info["missing_keys"] == names and not info["unexpected_keys"]
    assert all(any(name in text for text in warnings_seen) for name in names)
    assert loaded.has_trained_critic is False and loaded.config.critic_head_type == head
    ids = make_batch()["input_ids"]
    assert torch.equal(loaded(ids).logits, old(ids).logits) and not loaded(ids).critic_logits.any()
    if head == "mlp":
        assert loaded.critic_head.dense.weight.std() > 0.2


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_checkpoint_with_a_critic_loads_without_one_and_without_a_word(tmp_path, warnings_seen, head):
    model = build_with_critic(critic_head_type=head)
    model.save_pretrained(tmp_path)
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, add_critic_head=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert not warnings_seen
    assert loaded.critic_head is None
    ids = make_batch()["input_ids"]
    assert torch.equal(loaded(ids).logits, model(ids).logits)


# ---- critic_scores ----


def test_critic_scores_are_the_critic_logits_of_one_pass_without_gradients():
    model = build_with_critic()
    batch = make_batch()
    passes = count_trunk_passes(model)
    scores = model.critic_scores(batch["input_ids"], batch["attention_mask"])
    assert len(passes) == 1
    assert scores.shape == batch["input_ids"].shape and not scores.requires_grad
    assert torch.equal(scores, model(batch["input_ids"], batch["attention_mask"]).critic_logits)


def test_critic_scores_without_a_head_name_the_flag():
    with pytest.raises(ValueError, match=r"`add_critic_head` must be True for critic scores, got False: .*\.$"):
        build().critic_scores(make_batch()["input_ids"])


# ---- the losses ----


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({}, {}, 2),
        ({}, {"critic_pass": False}, 1),
        ({}, {"labels": None}, 1),
        ({"add_critic_head": False}, {}, 1),
        ({"critic_alpha": 0}, {}, 2),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_the_trunk_runs_exactly_as_often_as_needed(changes, arguments, expected, training):
    model = build(**{"add_critic_head": True, **changes}).train(training)
    passes = count_trunk_passes(model)
    model(**{**make_batch(), **arguments})
    assert len(passes) == expected


@pytest.mark.parametrize("add_critic_head", [True, False])
def test_the_lm_loss_is_the_cross_entropy_with_the_mask_forbidden_and_labels_are_not_shifted(add_critic_head):
    model = build(add_critic_head=add_critic_head)
    batch = make_batch()
    output = model(**batch)
    logits = output.logits.clone()
    logits[..., MASK] = float("-inf")
    where = batch["labels"] != -100
    by_hand = -logits.log_softmax(dim=-1)[where].gather(-1, batch["labels"][where][:, None]).squeeze(-1)
    torch.testing.assert_close(output.lm_token_loss[where], by_hand)
    assert not output.lm_token_loss[~where].any()
    torch.testing.assert_close(output.lm_loss, by_hand.mean())
    assert torch.isfinite(output.logits).all()  # the returned logits are the head's own


def test_with_weights_the_lm_loss_is_the_sum_over_the_number_of_real_tokens():
    model = build(add_critic_head=True)
    batch, weights = make_batch(), torch.rand(3, LENGTH) * 5
    plain, weighted = model(**batch), model(**batch, loss_weights=weights)
    torch.testing.assert_close(weighted.lm_token_loss, plain.lm_token_loss * weights)
    torch.testing.assert_close(weighted.lm_loss, (plain.lm_token_loss * weights).sum() / (3 * LENGTH - 3))
    del batch["attention_mask"]
    plain, weighted = model(**batch), model(**batch, loss_weights=weights)
    torch.testing.assert_close(weighted.lm_loss, (plain.lm_token_loss * weights).sum() / (3 * LENGTH))


@pytest.mark.parametrize(("alpha", "correction_alpha"), [(0.5, 0.5), (2.0, 0.0), (0, 0.25), (0, 0)])
def test_the_loss_is_the_weighted_sum_of_its_terms(alpha, correction_alpha):
    model = build_with_critic(critic_alpha=alpha, correction_alpha=correction_alpha)
    output = model(**make_batch(), **make_draws())
    expected = output.lm_loss + alpha * output.critic_loss
    if correction_alpha:
        expected = expected + correction_alpha * output.correction_loss
    else:
        assert output.correction_loss is None and output.correction_token_loss is None
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_the_remaining_loss_counts_rows_as_the_lm_loss_does_and_joins_the_loss(weighted, padded):
    model = build_with_critic(remaining_alpha=0.7, critic_regime="partial")
    batch, draws = make_batch(), make_draws()
    arguments = {"loss_weights": torch.rand(3, LENGTH)} if weighted else {}
    if not padded:
        del batch["attention_mask"]
    output = model(**batch, **draws, **arguments)
    left = (batch["input_ids"] == MASK) & ~draws["fill_mask"]
    second = model(output.critic_input_ids, batch.get("attention_mask")).logits
    loss = token_cross_entropy(second, batch["labels"].masked_fill(~left, -100), MASK)
    tokens = torch.full((3,), LENGTH)
    if weighted and padded:
        tokens[2] -= 3
    if not weighted:
        tokens = (batch["labels"] != -100).sum(dim=-1)
    expected = loss * (tokens / left.sum(dim=-1).clamp(min=1))[:, None]
    assert left.any(dim=-1).all()
    torch.testing.assert_close(output.remaining_token_loss, expected)
    torch.testing.assert_close(output.remaining_loss, expected.sum() / tokens.sum())
    plain = build_with_critic(critic_regime="partial")(**batch, **draws, **arguments)
    assert plain.remaining_loss is None and plain.remaining_token_loss is None
    torch.testing.assert_close(output.loss, plain.loss + 0.7 * output.remaining_loss)
    for name, value in plain.items():
        if name != "loss":
            assert torch.equal(value, output[name]), name


def test_the_remaining_loss_trains_the_trunk_through_the_second_pass():
    model = build_with_critic(remaining_alpha=0.7, critic_alpha=0.0, correction_alpha=0.0)
    batch, draws = make_batch(), make_draws()
    output = model(**batch, **draws)
    gradients = torch.autograd.grad(output.remaining_loss, list(model.model.parameters()))
    left = (batch["input_ids"] == MASK) & ~draws["fill_mask"]
    second = model(output.critic_input_ids.detach(), batch["attention_mask"]).logits
    loss = token_cross_entropy(second, batch["labels"].masked_fill(~left, -100), MASK).sum(dim=-1)
    tokens = (batch["labels"] != -100).sum(dim=-1)
    by_hand = (loss * tokens / left.sum(dim=-1).clamp(min=1)).sum() / tokens.sum()
    for one, other in zip(gradients, torch.autograd.grad(by_hand, list(model.model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert one.any()


@pytest.mark.parametrize("correction_alpha", [0.0, 1.0])
def test_a_detached_critic_changes_no_number_and_gives_the_trunk_no_gradient(correction_alpha):
    outputs, gradients = [], []
    for detach in (False, True):
        model = build_with_critic(critic_detach=detach, correction_alpha=correction_alpha).train()
        output = model(**make_batch(), **make_draws())
        output.loss.backward()
        outputs.append(output)
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, value in outputs[0].items():
        assert torch.equal(value, outputs[1][name]), name
    assert torch.equal(gradients[0]["critic_head.weight"], gradients[1]["critic_head.weight"])
    # Without the critic's weight in the loss the trunk's gradient is the same.
    model = build_with_critic(critic_alpha=0.0, correction_alpha=correction_alpha).train()
    model(**make_batch(), **make_draws()).loss.backward()
    for name, parameter in model.model.named_parameters(prefix="model"):
        torch.testing.assert_close(gradients[1][name], parameter.grad, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(gradients[0]["model.norm.weight"], gradients[1]["model.norm.weight"], atol=1e-4)


@pytest.mark.parametrize(("share", "rows"), [(0.5, [0, 2]), (0.25, [0]), (0.75, [0, 1, 2])])
@pytest.mark.parametrize("left_padded", [True, False])
def test_a_share_of_the_batch_is_judged_as_if_it_were_alone(share, rows, left_padded):
    fields = {"position_embedding_type": "absolute", "remaining_alpha": 0.5, "critic_regime": "partial"}
    model = build_with_critic(**fields).train()
    batch, draws = make_batch(batch_size=4), make_draws(batch_size=4)
    if left_padded:
        batch = {name: values.flip(1) for name, values in batch.items()}
    sizes = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    weights = torch.rand(4, LENGTH)
    output = model(**batch, **draws, loss_weights=weights, critic_batch_share=share)
    assert sizes == [4, len(rows)]
    part = {name: values[rows] for name, values in {**batch, **draws, "loss_weights": weights}.items()}
    alone = model(**part)
    others = [row for row in range(4) if row not in rows]
    for name, value in output.items():
        if name in ("critic_loss", "correction_loss", "remaining_loss"):
            torch.testing.assert_close(value, alone[name])
        elif name.startswith(("critic_", "correction_", "remaining_")) and name != "critic_logits":
            torch.testing.assert_close(value[rows], alone[name])
            untouched = batch["input_ids"] if name == "critic_input_ids" else torch.zeros_like(value)
            assert torch.equal(value[others], untouched[others]), name
    assert output.critic_logits.shape == output.critic_valid.shape == (4, LENGTH)
    whole = model(**batch, **draws, loss_weights=weights)
    assert torch.equal(output.lm_loss, whole.lm_loss) and torch.equal(output.logits, whole.logits)
    terms = 0.5 * output.critic_loss + 0.1 * output.correction_loss + 0.5 * output.remaining_loss
    torch.testing.assert_close(output.loss, output.lm_loss + terms)


def test_position_ids_reach_the_rows_of_a_share():
    model = build_with_critic(position_embedding_type="absolute")
    batch, draws = make_batch(batch_size=4), make_draws(batch_size=4)
    positions = torch.arange(LENGTH)[None] + torch.tensor([[0], [2], [4], [6]])
    shared = model(**batch, **draws, position_ids=positions, critic_batch_share=0.5)
    whole = model(**batch, **draws, position_ids=positions)
    torch.testing.assert_close(shared.critic_input_logits[[0, 2]], whole.critic_input_logits[[0, 2]])
    one = torch.arange(3, 3 + LENGTH)[None]  # one row for all
    shared = model(**batch, **draws, position_ids=one, critic_batch_share=0.5)
    whole = model(**batch, **draws, position_ids=one)
    torch.testing.assert_close(shared.critic_input_logits[[0, 2]], whole.critic_input_logits[[0, 2]])


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`critic_batch_share` must be in"):
        build_with_critic()(**make_batch(), critic_batch_share=0.0)


@pytest.mark.parametrize("scope", ["masked_only", "masked_and_ignore", "all"])
@pytest.mark.parametrize("fill", ["multinomial", "argmax"])
@pytest.mark.parametrize("training", [True, False])
def test_the_second_pass_is_what_the_artifacts_say(scope, fill, training):
    model = build_with_critic(critic_target_scope=scope, critic_fill=fill).train(training)
    batch, draws = make_batch(), make_draws()
    if scope == "all":  # a substituted visible token, with the truth as its label
        batch["labels"][0, 1] = 9
    output = model(**batch, **draws)
    artifacts = build_critic_artifacts_from_logits(
        batch["input_ids"], output.logits, batch["labels"], MASK, pad_token_id=PAD, scope=scope, fill=fill, **draws
    )
    assert torch.equal(output.critic_input_ids, artifacts.critic_input)
    assert torch.equal(output.critic_target, artifacts.critic_target)
    assert torch.equal(output.critic_valid, artifacts.critic_valid)
    second = model(artifacts.critic_input, batch["attention_mask"])
    torch.testing.assert_close(output.critic_input_logits, second.critic_logits)
    probability = torch.sigmoid(second.critic_logits.double())
    target = artifacts.critic_target.double()
    by_hand = -(target * probability.log() + (1 - target) * (1 - probability).log())
    by_hand = torch.where(artifacts.critic_valid, by_hand, 0.0)
    torch.testing.assert_close(output.critic_token_loss.double(), by_hand, atol=1e-5, rtol=1e-5)
    mean = by_hand.sum() / artifacts.critic_valid.sum()
    torch.testing.assert_close(output.critic_loss.double(), mean, atol=1e-5, rtol=1e-5)
    correction = token_cross_entropy(second.logits, batch["labels"].masked_fill(~artifacts.filled, -100), MASK)
    torch.testing.assert_close(output.correction_token_loss, correction)
    torch.testing.assert_close(output.correction_loss, correction.sum() / (correction > 0).sum())


def test_the_critic_sees_and_judges_the_filled_positions_only_and_the_correction_stands_there():
    model = build_with_critic()
    batch, draws = make_batch(), make_draws()
    output = model(**batch, **draws)
    masked = batch["input_ids"] == MASK
    filled = masked & draws["fill_mask"]
    assert filled.any() and (masked & ~filled).any()
    assert torch.equal(output.critic_input_ids[~filled], batch["input_ids"][~filled])
    assert not torch.isin(output.critic_input_ids[filled], torch.tensor([MASK, PAD])).any()
    assert torch.equal(output.critic_valid, filled)
    assert not output.critic_token_loss[~filled].any() and output.critic_token_loss[filled].all()
    assert not output.correction_token_loss[~filled].any() and output.correction_token_loss[filled].all()
    # `critic_logits` are about the input, not about the filled one.
    assert torch.equal(output.critic_logits, model.critic_scores(batch["input_ids"], batch["attention_mask"]))


def test_a_fill_mask_outside_the_masks_fills_nothing():
    model = build_with_critic()
    batch = make_batch()
    visible = batch["input_ids"] != MASK
    output = model(**batch, fill_mask=visible, fill_uniforms=make_draws()["fill_uniforms"])
    assert torch.equal(output.critic_input_ids, batch["input_ids"])
    assert output.critic_loss == 0 and output.correction_loss == 0 and torch.isfinite(output.loss)


def test_the_uniforms_decide_the_filling_exactly():
    model = build_with_critic()
    batch, draws = make_batch(), make_draws()
    for value in (1e-7, 0.5, 1 - 1e-7):
        output = model(**batch, fill_uniforms=torch.full((3, LENGTH), value))
        logits = output.logits.clone()
        logits[..., [PAD, MASK]] = float("-inf")
        cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
        expected = (cumulative <= value * cumulative[..., -1:]).sum(dim=-1).clamp(max=VOCAB - 1)
        masked = batch["input_ids"] == MASK
        assert torch.equal(output.critic_input_ids[masked], expected[masked])
    draws["fill_uniforms"][0, 0] = 1 - draws["fill_uniforms"][0, 0]  # one draw decides one position
    changed = (
        (model(**batch, **make_draws()).critic_input_ids != model(**batch, **draws).critic_input_ids)
        .nonzero()
        .tolist()
    )
    assert changed in ([], [[0, 0]])


def test_no_gradient_flows_through_the_filling():
    model = build_with_critic(correction_alpha=0)
    batch, draws = make_batch(), make_draws()
    output = model(**batch, **draws)
    output.critic_loss.backward()
    through_forward = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits = model(output.critic_input_ids, batch["attention_mask"]).critic_logits
    losses = nn.functional.binary_cross_entropy_with_logits(logits, output.critic_target, reduction="none")
    losses[output.critic_valid].mean().backward()
    assert through_forward.keys() == {name for name, p in model.named_parameters() if p.grad is not None}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(through_forward[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_a_skipped_critic_pass_leaves_a_zero_gradient_and_the_plain_loss():
    model = build_with_critic().train()
    output = model(**make_batch(), critic_pass=False)
    assert torch.equal(output.loss, output.lm_loss)
    assert output.critic_loss is None and output.critic_valid is None and output.critic_logits is not None
    output.loss.backward()
    assert model.critic_head.weight.grad is not None and not model.critic_head.weight.grad.any()


def test_a_skipped_pass_leaves_every_layer_of_an_mlp_critic_a_zero_gradient():
    model = build_with_critic(critic_head_type="mlp", use_bias=True).train()
    output = model(**make_batch(), critic_pass=False)
    assert torch.equal(output.loss, output.lm_loss)
    output.loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.critic_head.parameters())


@each_variant
def test_every_parameter_gets_a_gradient_and_moves_in_one_step(variant):
    model = build(add_critic_head=True, **variant).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(**make_batch(), **make_draws()).loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert not torch.equal(parameter, before[name]), name


def test_evaluation_with_labels_repeats_itself_and_fills_every_mask_with_argmax():
    model = build_with_critic(hidden_dropout=0.3, attention_dropout=0.3)
    batch = make_batch()
    state = torch.get_rng_state()
    one, other = model(**batch), model(**batch)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    logits = one.logits.clone()
    logits[..., [PAD, MASK]] = float("-inf")
    masked = batch["input_ids"] == MASK
    assert torch.equal(one.critic_input_ids[masked], logits.argmax(dim=-1)[masked])


def test_training_draws_follow_the_global_seed():
    model = build_with_critic().train()
    batch = make_batch(batch_size=8)

    def filled(seed):
        torch.manual_seed(seed)
        return model(**batch).critic_input_ids

    assert torch.equal(filled(0), filled(0))
    assert not torch.equal(filled(0), filled(1))


@pytest.mark.parametrize("regime", ["full", "partial", "mixed"])
@pytest.mark.parametrize("uniforms_given", [True, False])
def test_training_without_a_fill_mask_follows_the_regime(regime, uniforms_given):
    model = build_with_critic(critic_regime=regime).train()
    batch = make_batch(batch_size=64)
    arguments = {"fill_uniforms": torch.rand(64, LENGTH)} if uniforms_given else {}
    torch.manual_seed(3)
    output = model(**batch, **arguments)
    masked = batch["input_ids"] == MASK
    left = (output.critic_input_ids == MASK).sum(dim=-1)
    full_rows = (left == 0).float().mean().item()
    assert ((masked.sum(dim=-1) - left) >= 1).all()
    if regime == "full":
        assert full_rows == 1
    else:
        assert 0 < full_rows < (0.5 if regime == "partial" else 0.75)


def test_a_model_without_a_mask_token_treats_the_labelled_positions_as_masked():
    model = build_with_critic(mask_token_id=None)
    batch = make_batch()
    output = model(**batch, fill_uniforms=torch.rand(3, LENGTH))
    assert torch.equal(output.critic_valid, batch["labels"] != -100)
    assert torch.isfinite(output.loss)


def test_a_batch_without_any_label_has_a_finite_loss_of_zero():
    model = build_with_critic().train()
    batch = make_batch()
    batch["labels"] = torch.full_like(batch["labels"], -100)
    output = model(**batch)
    assert output.loss == 0
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_embeddings_instead_of_ids_work_but_cannot_train_a_critic():
    model = build_with_critic()
    batch = make_batch()
    embeddings = model.get_input_embeddings()(batch.pop("input_ids"))
    expected = model(**make_batch())
    output = model(inputs_embeds=embeddings, attention_mask=batch["attention_mask"])
    assert torch.equal(output.logits, expected.logits) and torch.equal(output.critic_logits, expected.critic_logits)
    assert torch.equal(model(inputs_embeds=embeddings, **batch, critic_pass=False).lm_loss, expected.lm_loss)
    with pytest.raises(ValueError, match=r"`input_ids` must be given to train the critic, got only .*: .*\.$"):
        model(inputs_embeds=embeddings, **batch)


def test_ids_and_embeddings_exclude_each_other():
    model = build()
    ids = make_batch()["input_ids"]
    for arguments in ({}, {"input_ids": ids, "inputs_embeds": model.get_input_embeddings()(ids)}):
        with pytest.raises(ValueError, match=r"`input_ids` or `inputs_embeds` must be given, one of the two"):
            model(**arguments)


def test_a_sequence_longer_than_the_learnt_positions_is_refused():
    model = build(position_embedding_type="absolute")
    assert model(torch.full((1, 16), 3)).logits.shape == (1, 16, VOCAB)
    with pytest.raises(ValueError, match=r"`input_ids` must be at most `max_position_embeddings` = 16 .*, got 17: .*"):
        model(torch.full((1, 17), 3))


def test_position_ids_reach_both_passes():
    model = build_with_critic(position_embedding_type="absolute")
    batch, draws = make_batch(), make_draws()
    positions = torch.arange(3, 3 + LENGTH)[None].expand(3, -1)
    shifted = model(**batch, **draws, position_ids=positions)
    assert not torch.allclose(shifted.logits, model(**batch, **draws).logits, atol=1e-3)
    second = model(shifted.critic_input_ids, batch["attention_mask"], position_ids=positions)
    torch.testing.assert_close(shifted.critic_input_logits, second.critic_logits)


# ---- freezing ----


def step(model, **arguments):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model.train()
    model(**make_batch(), **arguments).loss.backward()
    optimizer.step()
    return model.eval()


def test_on_a_frozen_trunk_only_the_critic_moves_and_the_logits_stay_bit_for_bit():
    model = build(add_critic_head=True)
    ids = make_batch()["input_ids"]
    logits = model(ids).logits
    model.freeze_trunk()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["critic_head.weight"]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step(model, **make_draws())
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"critic_head.weight"}
    assert torch.equal(model(ids).logits, logits)
    assert model.has_trained_critic
    model.unfreeze_trunk()
    assert all(p.requires_grad for p in model.parameters())


def test_untying_gives_the_lm_head_a_copy_of_its_own_that_survives_saving(tmp_path):
    model = build(add_critic_head=True)
    ids = make_batch()["input_ids"]
    logits = model(ids).logits
    model.freeze_trunk(untie=True)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert torch.equal(model(ids).logits, logits)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"lm_head.weight", "critic_head.weight"}
    embeddings = model.model.embed_tokens.weight.detach().clone()
    step(model, **make_draws())
    assert torch.equal(model.model.embed_tokens.weight, embeddings)
    assert not torch.equal(model.lm_head.weight, embeddings)
    model.save_pretrained(tmp_path)
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert loaded.config.tie_word_embeddings is False
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(loaded.model.embed_tokens.weight, embeddings)
    assert torch.equal(loaded(ids).logits, model(ids).logits)


@pytest.mark.parametrize(("untie", "alpha", "trains"), [(False, 1.0, False), (True, 1.0, True), (True, 0.0, False)])
def test_a_correction_that_trains_nothing_is_left_out_in_training_alone(untie, alpha, trains):
    model = build(add_critic_head=True, correction_alpha=alpha)
    assert model.correction_trains is (alpha > 0)
    model.freeze_trunk(untie=untie)
    assert model.correction_trains is trains
    batch = {**make_batch(), **make_draws()}
    assert ("correction_loss" in model.train()(**batch)) is trains
    assert ("correction_loss" in model.eval()(**batch)) is (alpha > 0)
    model.unfreeze_trunk()
    assert model.correction_trains is (alpha > 0)


@pytest.mark.parametrize("cls", [CriticGPTForTokenClassification, CriticGPTForSequenceClassification])
def test_other_heads_stay_trainable_on_a_frozen_trunk(cls):
    model = build(cls)
    model.freeze_trunk(untie=True)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trainable and not any(name.startswith("model.") for name in trainable)


# ---- outputs, precision, compilation ----


def test_the_loss_comes_first_in_a_tuple_and_the_order_is_that_of_the_fields():
    model = build_with_critic()
    arguments = {**make_batch(), **make_draws()}
    output = model(**arguments)
    names = list(output)
    assert names[:2] == ["loss", "logits"]
    assert names == [name for name in output.__dataclass_fields__ if name in output]
    as_tuple = model(**arguments, return_dict=False)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == len(names)
    assert all(torch.equal(one, other) for one, other in zip(as_tuple, output.to_tuple(), strict=True))


@pytest.mark.parametrize(
    "cls",
    [CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification],
)
def test_a_configuration_that_asks_for_tuples_gets_them(cls):
    model = build(cls, return_dict=False, add_critic_head=True)
    batch = make_batch()
    assert isinstance(model(batch["input_ids"], batch["attention_mask"]), tuple)
    if cls is CriticGPTForMaskedLM:
        assert isinstance(model(**batch), tuple)
        assert model.critic_scores(batch["input_ids"]).shape == (3, LENGTH)


def test_hidden_states_and_attentions_are_those_of_the_first_pass():
    model = build_with_critic()
    model.set_attn_implementation("eager")
    batch = make_batch()
    output = model(**batch, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3 and len(output.attentions) == 2
    assert all(states.shape == (3, LENGTH, 16) for states in output.hidden_states)
    real = batch["attention_mask"].bool()
    for weights in output.attentions:
        assert weights.shape == (3, 2, LENGTH, LENGTH)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 2, LENGTH))
        assert not weights[2, :, :, ~real[2]].any()
    torch.testing.assert_close(model.lm_head(output.hidden_states[-1]), output.logits)
    torch.testing.assert_close(output.hidden_states[0], model.model.embed_tokens(batch["input_ids"]))


def test_what_the_trainer_should_not_gather_is_listed():
    output = build_with_critic(remaining_alpha=1.0)(**make_batch(), **make_draws())
    listed = set(CriticGPTConfig.keys_to_ignore_at_inference)
    assert set(output) - listed == {"loss", "logits"}
    assert listed <= set(output.__dataclass_fields__)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_stays_finite_and_its_losses_are_float32(training):
    model = build_with_critic().to(torch.bfloat16).train(training)
    output = model(**make_batch(), **make_draws())
    assert output.logits.dtype == output.critic_logits.dtype == torch.bfloat16
    for name in ("loss", "lm_loss", "critic_loss", "correction_loss", "critic_token_loss"):
        assert output[name].dtype == torch.float32 and torch.isfinite(output[name]).all(), name
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    reference = build_with_critic()(**make_batch(), **make_draws())
    torch.testing.assert_close(output.lm_loss, reference.lm_loss, atol=0.1, rtol=0.05)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = build_with_critic(hidden_dropout=0.2).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        torch.manual_seed(4)
        model(**make_batch(), **make_draws()).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("case", ["no labels", "labels", "training"])
@pytest.mark.parametrize("position", ["rotary", "absolute"])
def test_the_compiled_forward_is_one_graph_and_equals_the_eager_one(case, position):
    model = build_with_critic(position_embedding_type=position).train(case == "training")
    arguments = make_batch()
    if case == "no labels":
        del arguments["labels"]
    else:
        arguments |= {**make_draws(), "loss_weights": torch.rand(3, LENGTH)}
    expected = model(**arguments)
    torch.compiler.reset()
    output = torch.compile(model, fullgraph=True, backend="eager")(**arguments)
    assert list(output) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(output[name], value, msg=name)


RECIPE = {"critic_head_type": "mlp", "remaining_alpha": 0.5, "critic_regime": "partial", "critic_fill_exponent": 2.0}


@pytest.mark.parametrize("fields", [RECIPE, {"critic_detach": True, "correction_alpha": 0.0, "add_joint_head": True}])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_every_recipe_compiles_into_one_graph_with_the_same_gradients(fields, share):
    results = []
    for compiled in (False, True):
        model = build_with_critic(**fields).train()
        torch.compiler.reset()
        call = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
        batch = make_batch()
        given_mask = torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(5)) < 0.4
        output = call(**batch, **make_draws(), given_mask=given_mask, critic_batch_share=share)
        output.loss.backward()
        results.append((output, {name: parameter.grad for name, parameter in model.named_parameters()}))
    (eager, gradients), (compiled, others) = results
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, msg=name)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_models_with_other_weights_of_their_losses_compile_in_one_process():
    # Of a second value torch.compile makes a symbol, which not every expression may hold.
    torch.compiler.reset()
    for correction, remaining in ((0.1, 0.0), (0.25, 0.0), (0.3, 0.1), (0.0, 0.2), (0.0, 0.0)):
        model = build_with_critic(correction_alpha=correction, remaining_alpha=remaining, critic_detach=True).train()
        arguments = {**make_batch(), **make_draws()}
        expected = model(**arguments)
        output = torch.compile(model, fullgraph=True, backend="eager")(**arguments)
        assert list(output) == list(expected)
        torch.testing.assert_close(output.loss, expected.loss)


def test_training_without_given_draws_compiles_into_one_graph():
    model = build_with_critic().train()
    torch.compiler.reset()
    output = torch.compile(model, fullgraph=True, backend="eager")(**make_batch())
    output.loss.backward()
    assert torch.isfinite(output.loss) and model.critic_head.weight.grad.any()


# ---- embeddings and tying ----


def test_tied_weights_stay_tied_through_saving_and_loading(tmp_path):
    model = build_with_critic()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert loaded.critic_head.weight.data_ptr() != loaded.lm_head.weight.data_ptr()


def test_untied_weights_are_two_tensors(tmp_path):
    model = build(tie_word_embeddings=False)
    assert not torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(loaded.model.embed_tokens.weight, model.model.embed_tokens.weight)


def test_a_larger_vocabulary_keeps_the_mask_the_critic_and_the_tying():
    model = build_with_critic()
    ids = make_batch()["input_ids"]
    before = model(ids)
    model.resize_token_embeddings(VOCAB + 5, mean_resizing=False)
    after = model(ids)
    assert model.config.vocab_size == VOCAB + 5 and model.config.mask_token_id == MASK
    assert after.logits.shape[-1] == VOCAB + 5
    assert model.lm_head.weight is model.model.embed_tokens.weight
    torch.testing.assert_close(after.logits[..., :VOCAB], before.logits)
    assert torch.equal(after.critic_logits, before.critic_logits)
    assert torch.isfinite(model(**make_batch(), **make_draws()).loss)


# ---- token classification ----


def test_token_classification_gives_logits_and_ignores_both_old_and_new_ignore_values():
    model = build(CriticGPTForTokenClassification, num_labels=3)
    batch = make_batch()
    labels = torch.randint(0, 3, (3, LENGTH))
    labels[0, :4], labels[1, 5:] = -100, -1
    output = model(batch["input_ids"], batch["attention_mask"], labels=labels)
    assert output.logits.shape == (3, LENGTH, 3)
    valid = labels >= 0
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits[valid], labels[valid]))


def test_balanced_class_weights_follow_the_formula_with_an_absent_class():
    batch = make_batch()
    labels = torch.randint(0, 2, (3, LENGTH))
    labels[0, :8] = -100
    labels[:, -1] = 3  # class 2 is absent
    plain = build(CriticGPTForTokenClassification, num_labels=4)
    balanced = build(CriticGPTForTokenClassification, num_labels=4, balanced_class_weights=True)
    output = balanced(batch["input_ids"], batch["attention_mask"], labels=labels)
    valid = labels != -100
    counts = torch.bincount(labels[valid], minlength=4)
    assert counts[2] == 0
    weights = torch.tensor([0.0 if n == 0 else valid.sum().item() / (4 * n) for n in counts.tolist()])
    expected = nn.functional.cross_entropy(output.logits[valid], labels[valid], weight=weights)
    torch.testing.assert_close(output.loss, expected)
    other = plain(batch["input_ids"], batch["attention_mask"], labels=labels)
    assert torch.equal(other.logits, output.logits) and not torch.isclose(other.loss, output.loss)


def test_token_classification_takes_soft_labels():
    model = build(CriticGPTForTokenClassification, num_labels=3)
    batch, soft = make_batch(), torch.rand(3, LENGTH, 3).softmax(dim=-1)
    output = model(batch["input_ids"], batch["attention_mask"], labels=soft)
    torch.testing.assert_close(
        output.loss, nn.functional.cross_entropy(output.logits.flatten(0, 1), soft.flatten(0, 1))
    )


# ---- sequence scoring and classification ----


def test_the_scorer_is_a_sigmoid_of_a_scaled_projection_of_position_zero():
    model = build(CriticGPTForSequenceClassification, num_labels=1, regression_scale_init=3.0)
    assert model.score.scale.item() == 3.0 and model.score.shift.item() == 0.0
    with torch.no_grad():
        model.score.shift.fill_(-0.7)
    batch, targets = make_batch(), torch.tensor([0.0, 0.25, 1.0])
    output = model(batch["input_ids"], batch["attention_mask"], labels=targets)
    state = model.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state[:, 0]
    expected = torch.sigmoid(3.0 * (state @ model.score.weight[0]) - 0.7)
    torch.testing.assert_close(output.logits[:, 0], expected)
    assert ((output.logits > 0) & (output.logits < 1)).all()
    torch.testing.assert_close(output.loss, ((expected - targets) ** 2).mean())


def test_scale_and_shift_of_the_scorer_start_neutral_and_learn():
    model = build(CriticGPTForSequenceClassification, num_labels=1).train()
    assert (model.score.scale.item(), model.score.shift.item()) == (1.0, 0.0)
    batch = make_batch()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(batch["input_ids"], batch["attention_mask"], labels=torch.tensor([0.0, 1.0, 1.0])).loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name])]


def test_scale_and_shift_of_the_scorer_survive_saving(tmp_path):
    model = build(CriticGPTForSequenceClassification, num_labels=1)
    with torch.no_grad():
        model.score.scale.fill_(2.5)
        model.score.shift.fill_(-1.5)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForSequenceClassification.from_pretrained(tmp_path)
    assert (loaded.score.scale.item(), loaded.score.shift.item()) == (2.5, -1.5)


@pytest.mark.parametrize("num_labels", [1, 3])
def test_padding_on_either_side_does_not_change_the_verdict_on_a_sequence(num_labels):
    model = build(CriticGPTForSequenceClassification, num_labels=num_labels)
    ids = make_batch()["input_ids"][:2]
    padding = torch.full((2, 4), PAD)
    expected = model(ids).logits
    for padded in (torch.cat([ids, padding], dim=1), torch.cat([padding, ids], dim=1)):
        logits = model(padded, attention_mask=(padded != PAD).long()).logits
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_sequences_are_classified_into_one_class_or_several():
    model = build(CriticGPTForSequenceClassification, num_labels=3)
    batch = make_batch()
    classes = torch.tensor([0, 2, 1])
    output = model(batch["input_ids"], batch["attention_mask"], labels=classes)
    assert output.logits.shape == (3, 3)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, classes))
    several = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    expected = nn.functional.binary_cross_entropy_with_logits(output.logits, several.float())
    for labels in (several, several.float()):
        output = model(batch["input_ids"], batch["attention_mask"], labels=labels)
        torch.testing.assert_close(output.loss, expected)


def test_the_stock_trainer_divides_by_the_accumulation_steps(tmp_path):
    # With a mean as loss, whoever accepts the Trainer's token count gets gradients that are too large.
    batch = make_batch(batch_size=4)
    rows = [{"input_ids": batch["input_ids"][i], "labels": torch.arange(LENGTH) % 3} for i in range(4)]
    weights = []
    for accumulation in (1, 4):
        model = build(CriticGPTForTokenClassification, num_labels=3)
        arguments = TrainingArguments(
            output_dir=tmp_path,
            max_steps=1,
            per_device_train_batch_size=4 // accumulation,
            gradient_accumulation_steps=accumulation,
            learning_rate=0.5,
            optim="sgd",
            max_grad_norm=0.0,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        Trainer(model=model, args=arguments, train_dataset=rows).train()
        weights.append(model.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-5, rtol=1e-4)


# ---- the Auto classes ----


@pytest.mark.parametrize(
    ("auto", "cls"),
    [
        (AutoModel, CriticGPTModel),
        (AutoModelForMaskedLM, CriticGPTForMaskedLM),
        (AutoModelForTokenClassification, CriticGPTForTokenClassification),
        (AutoModelForSequenceClassification, CriticGPTForSequenceClassification),
    ],
)
def test_the_auto_classes_load_the_same_weights(auto, cls, tmp_path):
    model = build(cls)
    model.save_pretrained(tmp_path)
    loaded, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is cls
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_trunk_of_a_language_model_serves_the_other_heads(tmp_path):
    model = build_with_critic()
    model.save_pretrained(tmp_path)
    for auto in (AutoModel, AutoModelForTokenClassification, AutoModelForSequenceClassification):
        trunk = auto.from_pretrained(tmp_path).base_model
        expected = model.model.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in trunk.state_dict().items())


# ---- calibration beside the weights ----


def calibrated(**changes) -> CriticGPTForMaskedLM:
    model = build_with_critic(**changes)
    table = CriticCalibration([0.3 + 0.005 * i for i in range(100)], {"source": "a test"})
    model.calibration = table.with_metadata(fingerprint=model.fingerprint())
    return model


def test_a_table_is_saved_and_loaded_with_its_weights(tmp_path, warnings_seen):
    model = calibrated()
    model.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / "calibration.json").read_text())) == {"model.safetensors", "__metadata__"}
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.calibration == model.calibration
    assert AutoModelForMaskedLM.from_pretrained(tmp_path).calibration == model.calibration
    assert not warnings_seen


def test_without_a_table_there_is_none_and_no_file(tmp_path, warnings_seen):
    build_with_critic().save_pretrained(tmp_path)
    assert not (tmp_path / "calibration.json").exists()
    assert CriticGPTForMaskedLM.from_pretrained(tmp_path).calibration is None
    assert build().calibration is None
    assert not warnings_seen


def test_the_table_of_other_weights_is_refused_with_one_warning(tmp_path, warnings_seen):
    model = calibrated()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        model.critic_head.weight.add_(1.0)
    model.calibration = None
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.calibration is None
    assert len(warnings_seen) == 1
    assert "other weights" in warnings_seen[0] and "calibrate again" in warnings_seen[0]


def test_a_table_fits_the_same_weights_loaded_in_bfloat16(tmp_path, warnings_seen):
    model = calibrated()
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded.calibration == model.calibration and not warnings_seen


def test_a_model_loaded_without_its_critic_has_no_table(tmp_path, warnings_seen):
    calibrated().save_pretrained(tmp_path)
    assert CriticGPTForMaskedLM.from_pretrained(tmp_path, add_critic_head=False).calibration is None
    assert not warnings_seen


@pytest.mark.parametrize("text", ["{", '{"model.safetensors": [0.5]}', "[]"])
def test_a_corrupt_table_is_a_clear_error(tmp_path, text):
    calibrated().save_pretrained(tmp_path)
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ValueError, match=r"calibration\.json.*must .*calibrate again"):
        CriticGPTForMaskedLM.from_pretrained(tmp_path)


def test_loading_information_a_subfolder_and_a_variant_find_the_right_table(tmp_path):
    models = {variant: calibrated(seed=seed) for seed, variant in enumerate([None, "ema"])}
    for variant, model in models.items():
        model.save_pretrained(tmp_path / "inner", variant=variant)
    document = json.loads((tmp_path / "inner" / "calibration.json").read_text())
    assert set(document) == {"model.safetensors", "model.ema.safetensors", "__metadata__"}
    for variant, model in models.items():
        loaded, info = CriticGPTForMaskedLM.from_pretrained(
            tmp_path, subfolder="inner", variant=variant, output_loading_info=True
        )
        assert not info["missing_keys"]
        assert loaded.calibration == model.calibration
        assert loaded.fingerprint() == model.fingerprint()


def test_only_the_main_process_writes(tmp_path):
    calibrated().save_pretrained(tmp_path, is_main_process=False)
    assert not list(tmp_path.glob("calibration.json"))


def test_a_state_dict_is_saved_as_given_by_position_as_in_transformers(tmp_path):
    model = calibrated()
    changed = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, True, changed)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert not any(parameter.any() for parameter in loaded.parameters())


def test_pushing_happens_once_after_everything_is_written(tmp_path, monkeypatch):
    # What goes over the wire is in test_hub.py.
    model = calibrated()
    calls = []
    (tmp_path / "README.md").write_text("a card of its own")

    def push(self, folder, repo_id, unchanged, **arguments):
        calls.append((repo_id, unchanged, arguments, sorted(path.name for path in tmp_path.iterdir())))

    api = SimpleNamespace(create_repo=lambda repo_id, **kwargs: SimpleNamespace(repo_id=repo_id))
    monkeypatch.setattr("critic_gpt.calibration.model.hf_api", lambda: api)
    monkeypatch.setattr(CriticGPTForMaskedLM, "_upload_modified_files", push)
    model.save_pretrained(tmp_path, push_to_hub=True, repo_id="me/mine", commit_message="first", token="secret")
    model.save_pretrained(tmp_path, is_main_process=False, push_to_hub=True, repo_id="me/mine")
    ((repo_id, unchanged, arguments, files),) = calls
    assert repo_id == "me/mine" and not unchanged  # the card that was there is pushed with the rest
    assert arguments == {"commit_message": "first", "token": "secret"}
    assert {"calibration.json", "config.json", "model.safetensors"} <= set(files)
    assert (tmp_path / "README.md").read_text() == "a card of its own"
