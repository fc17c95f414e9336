# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the trunk: its equivalences, its first weights, and its freezing."""

import pytest
import torch
from tiny_models import VOCAB, build, build_with_critic, each_variant, make_batch, make_draws
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from critic_gpt import (
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
)


def assert_same_outputs(one, other, where=slice(None)):
    """Hidden states, logits and critic logits agree bit for bit at the positions `where` of each output."""
    pairs = [(one.logits, other.logits), (one.critic_logits, other.critic_logits)]
    for a, b in [*pairs, *zip(one.hidden_states, other.hidden_states, strict=True)]:
        torch.testing.assert_close(a[where], b[where], atol=0, rtol=0)


# ---- equivalences of the trunk ----


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
    assert_same_outputs(one, other)
    assert loaded.state_dict().keys() == model.state_dict().keys()


@each_variant
def test_what_is_under_the_padding_does_not_matter(variant):
    model = build_with_critic(**variant)
    batch = make_batch()
    real = batch["attention_mask"].bool()
    changed = torch.where(real, batch["input_ids"], torch.full_like(batch["input_ids"], 17))
    masks = batch["attention_mask"]
    one, other = (model(ids, masks, output_hidden_states=True) for ids in (batch["input_ids"], changed))
    assert_same_outputs(one, other, where=real)


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


def copy_linear(ours: nn.Linear, weight: torch.Tensor, bias: torch.Tensor):
    ours.weight.data.copy_(weight)
    ours.bias.data.copy_(bias)


@torch.no_grad()
def test_the_weights_of_gpt2_give_the_logits_of_gpt2():
    torch.manual_seed(0)
    shape = {"vocab_size": VOCAB, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}
    twin = GPT2LMHeadModel(GPT2Config(**shape, activation_function="gelu", initializer_range=0.3)).eval()
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
    shape = {"vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 2, "max_position_embeddings": 16, "initializer_range": 0.3}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    kind = {"hidden_act": "gelu", "use_parallel_residual": False, "tie_word_embeddings": True}
    twin = GPTNeoXForCausalLM(GPTNeoXConfig(**shape, **kind, rope_parameters=rope)).eval()
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


# ---- embeddings and tying ----


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_stay_tied_through_saving_and_loading(tmp_path, tied):
    model = build_with_critic(tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    for one in (model, loaded):
        assert (one.lm_head.weight is one.model.embed_tokens.weight) is tied
        assert torch.equal(one.lm_head.weight, one.model.embed_tokens.weight) is tied
        assert one.critic_head.weight.data_ptr() != one.lm_head.weight.data_ptr()
        assert torch.equal(one.lm_head.weight, model.lm_head.weight)
