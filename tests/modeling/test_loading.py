# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Models loaded in low precision, placed by a `device_map`, given another vocabulary, run beyond their length."""

import pytest
import torch
from transformers import AutoModelForMaskedLM

from critic_gpt import (
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
)


PAD, MASK, VOCAB = 0, 1, 32
CLASSES = [CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification]


def make_batch():
    """Masked ids padded on both sides, and their truth."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(2, VOCAB, (3, 12), generator=generator)
    input_ids = truth.clone()
    input_ids[:, ::2] = MASK
    input_ids[0, :3], input_ids[1, -4:] = PAD, PAD
    return {
        "input_ids": input_ids,
        "attention_mask": (input_ids != PAD).long(),
        "labels": truth.masked_fill(input_ids != MASK, -100),
    }


@pytest.fixture(params=["linear", "mlp"])
def critic(request, tiny_config):
    """Makes a tiny model with a critic of either kind that has opinions."""

    def make(**fields):
        torch.manual_seed(0)
        fields = {"add_critic_head": True, "critic_head_type": request.param, **fields}
        model = CriticGPTForMaskedLM(tiny_config(**fields)).eval()
        for parameter in model.critic_head.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return model

    return make


# ---- low precision ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_turned_into_another_precision_says_what_one_loaded_in_it_says(critic, tmp_path, dtype):
    """To the bit: its rotary frequencies are not rounded, which would shift positions far apart."""
    model = critic(position_embedding_type="rotary", max_position_embeddings=512)
    model.save_pretrained(tmp_path)
    ids = torch.randint(2, VOCAB, (2, 512), generator=torch.Generator().manual_seed(2))
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=dtype).eval()
    with torch.no_grad():
        expected, found = loaded(ids), model.to(dtype)(ids)
        back = model.to(torch.float32)(ids[:, :8]).logits
    assert found.logits.equal(expected.logits) and found.critic_logits.equal(expected.critic_logits)
    assert back.equal(loaded.to(torch.float32)(ids[:, :8]).logits)


@pytest.mark.parametrize(("dtype", "atol"), [("bfloat16", 0.2), ("float16", 0.05), (torch.float64, 1e-4)])
def test_a_model_loads_in_another_precision_and_says_nearly_the_same(critic, tmp_path, dtype, atol):
    model = critic()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert loaded.dtype == wanted and {parameter.dtype for parameter in loaded.parameters()} == {wanted}
    batch = make_batch()
    expected, output = model(**batch), loaded(**batch)
    assert output.logits.dtype == output.critic_logits.dtype == wanted
    assert output.loss.dtype == torch.promote_types(wanted, torch.float32)
    for name in ("logits", "critic_logits", "lm_loss"):
        where = batch["attention_mask"].bool() if expected[name].dim() else ...
        torch.testing.assert_close(
            output[name][where].float(), expected[name][where].float(), atol=atol, rtol=0.02, msg=name
        )
    sequences = loaded.generate(batch["input_ids"], num_steps=3, seed=0).sequences
    assert not (sequences == MASK).any()
    loaded.save_pretrained(tmp_path / "again")
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "again").dtype == wanted


# ---- device_map ----


@pytest.mark.parametrize("device_map", ["cpu", "auto"])
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_loads_with_a_device_map(tiny_config, tmp_path, cls, device_map):
    torch.manual_seed(0)
    model = cls(tiny_config(add_critic_head=True)).eval()
    model.save_pretrained(tmp_path)
    loaded = cls.from_pretrained(tmp_path, device_map=device_map)
    for name, parameter in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name).cpu(), parameter), name


SPLIT = {
    **dict.fromkeys(("model.embed_tokens", "model.rotary_emb", "model.dropout", "model.layers.0", "lm_head"), "cpu"),
    **dict.fromkeys(("model.layers.1", "model.norm", "critic_head"), "disk"),
}


@pytest.mark.parametrize("device_map", [SPLIT, {"": "disk"}], ids=["split", "all"])
def test_a_model_offloaded_to_the_disk_says_generates_and_saves_the_same(critic, tmp_path, device_map):
    model = critic()
    model.save_pretrained(tmp_path / "model")
    loaded = CriticGPTForMaskedLM.from_pretrained(
        tmp_path / "model", device_map=device_map, offload_folder=tmp_path / "offload"
    )
    assert all(parameter.is_meta for parameter in loaded.critic_head.parameters())
    assert loaded.has_trained_critic
    batch = make_batch()
    expected, output = model(**batch), loaded(**batch)
    for name in ("logits", "critic_logits", "loss", "critic_loss"):
        torch.testing.assert_close(output[name], expected[name], msg=name)
    one, other = (m.generate(batch["input_ids"], num_steps=4, seed=0) for m in (model, loaded))
    assert torch.equal(one.sequences, other.sequences)
    torch.testing.assert_close(one.error_probabilities, other.error_probabilities)
    loaded.save_pretrained(tmp_path / "again")
    for name, parameter in CriticGPTForMaskedLM.from_pretrained(tmp_path / "again").named_parameters():
        assert torch.equal(parameter, model.get_parameter(name)), name


def test_an_untrained_critic_is_known_as_such_on_the_disk(tiny_config, tmp_path):
    CriticGPTForMaskedLM(tiny_config(add_critic_head=True)).save_pretrained(tmp_path / "model")
    loaded = CriticGPTForMaskedLM.from_pretrained(
        tmp_path / "model", device_map={"": "disk"}, offload_folder=tmp_path / "offload"
    )
    assert not loaded.has_trained_critic


# ---- another vocabulary ----


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("size", [VOCAB + 9, VOCAB - 7], ids=["larger", "smaller"])
def test_another_vocabulary_keeps_the_mask_and_the_critic_through_saving(critic, tmp_path, size, tied):
    model = critic(tie_word_embeddings=tied)
    # Only tokens that both vocabularies know.
    batch = make_batch()
    batch["input_ids"] = batch["input_ids"].clamp(max=VOCAB - 8)
    batch["labels"] = batch["labels"].clamp(max=VOCAB - 8)
    with torch.no_grad():  # a graph of before would remember the old sizes
        before = model(**batch)
    model.resize_token_embeddings(size, mean_resizing=False)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    common = min(size, VOCAB)
    for resized in (model, loaded):
        assert (resized.config.vocab_size, resized.config.mask_token_id) == (size, MASK)
        assert (resized.lm_head.weight is resized.model.embed_tokens.weight) == tied
        assert resized.lm_head.weight.shape == resized.model.embed_tokens.weight.shape == (size, 16)
        assert resized.lm_head.out_features == size and resized.has_trained_critic
        after = resized(**batch)
        torch.testing.assert_close(after.logits[..., :common], before.logits[..., :common])
        torch.testing.assert_close(after.critic_logits, before.critic_logits)
        assert torch.isfinite(after.loss)
        sequences = resized.generate(batch["input_ids"], num_steps=3, seed=0).sequences
        assert not (sequences == MASK).any() and sequences.max() < size
        after.loss.backward()
        assert resized.model.embed_tokens.weight.grad.shape == (size, 16)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_vocabulary_without_the_mask_is_refused_and_nothing_is_changed(tiny_config, cls):
    model = cls(tiny_config(mask_token_id=VOCAB - 1))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(ValueError, match=r"`mask_token_id` must be in \[0, vocab_size = 31\), got 31: "):
        model.resize_token_embeddings(VOCAB - 1)
    assert model.config.vocab_size == VOCAB
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    assert model.resize_token_embeddings(None) is model.get_input_embeddings()
    assert model.resize_token_embeddings(VOCAB + 1, pad_to_multiple_of=8).weight.shape == (40, 16)


# ---- beyond the length ----


@pytest.mark.parametrize("rope_type", ["default", "linear", "dynamic", "yarn"])
def test_rotary_positions_go_on_beyond_the_length_of_training(tiny_config, rope_type):
    rope = {"rope_type": rope_type, "rope_theta": 10000.0, **({} if rope_type == "default" else {"factor": 2.0})}
    torch.manual_seed(0)
    model = CriticGPTForMaskedLM(tiny_config(rope_parameters=rope)).eval()
    ids = torch.randint(2, VOCAB, (2, 60), generator=torch.Generator().manual_seed(2))
    logits = model(ids).logits
    assert logits.shape == (2, 60, VOCAB) and torch.isfinite(logits).all()
    moved = model(ids.roll(1, dims=1)).logits.roll(-1, dims=1)
    assert (logits - moved).abs().max() > 1e-3  # the positions still count
