# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/convert_nanogpt_checkpoint.py`, against a forward pass of the old models written here."""

import copy
import json
import math
import pickle
import re
import subprocess
import sys

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from payload import Payload

from critic_gpt import (
    CriticCalibration,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
)
from critic_gpt.scripts import convert_nanogpt_checkpoint, one_line


LAYERS, HEADS, WIDTH, POSITIONS, VOCABULARY = 2, 2, 16, 12, 32
ARGS = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "block_size": POSITIONS, "vocab_size": VOCABULARY}
TRUNK_LINEARS = {"attn.c_attn": (3 * WIDTH, WIDTH), "attn.c_proj": (WIDTH, WIDTH)}
TRUNK_LINEARS |= {"mlp.c_fc": (4 * WIDTH, WIDTH), "mlp.c_proj": (WIDTH, 4 * WIDTH)}


# ---- the old model: its weights, and its forward pass as plain functions ----


def old_weights(seed=0, bias=True, absolute=True, critic=False, dtype=torch.float32, **heads):
    """Weights under the old names, all of them far from their initial values; `heads` are shapes by name."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, mean=0.0):
        return (mean + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    weights = {"transformer.wte.weight": draw(VOCABULARY, WIDTH)}
    if absolute:
        weights["transformer.wpe.weight"] = draw(POSITIONS, WIDTH)
    for layer in [f"transformer.h.{i}" for i in range(LAYERS)]:
        for name, shape in TRUNK_LINEARS.items():
            weights[f"{layer}.{name}.weight"] = draw(*shape)
            if bias:
                weights[f"{layer}.{name}.bias"] = draw(shape[0])
    norms = [f"transformer.h.{i}.ln_{k}" for i in range(LAYERS) for k in (1, 2)] + ["transformer.ln_f"]
    for name in norms:
        weights[f"{name}.weight"] = draw(WIDTH, mean=1.0)
        if bias:
            weights[f"{name}.bias"] = draw(WIDTH)
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    if critic:
        weights["critic_head.weight"] = draw(1, WIDTH)
    for name, shape in heads.items():
        weights[name.replace("__", ".")] = draw(*shape)
    return weights


def turned(x, interleaved):
    """Rotary positions of (B, heads, T, d), in complex numbers: pair i turns by position * 10000^(-2i/d)."""
    length, width = x.shape[-2:]
    frequencies = 1.0 / (10000 ** (torch.arange(0, width, 2).float() / width))
    angles = torch.outer(torch.arange(length).float(), frequencies)
    turns = torch.complex(angles.cos().to(x.dtype), angles.sin().to(x.dtype))
    if interleaved:
        real, imaginary = x[..., 0::2], x[..., 1::2]
    else:
        real, imaginary = x[..., : width // 2], x[..., width // 2 :]
    result = torch.complex(real.contiguous(), imaginary.contiguous()) * turns
    if interleaved:
        return torch.stack([result.real, result.imag], dim=-1).flatten(-2)
    return torch.cat([result.real, result.imag], dim=-1)


def old_states(weights, ids, causal, rotary=None):
    """The final norm's output (B, T, D) of an old model; `rotary` is None, "halves" or "interleaved"."""

    def linear(x, name):
        y = x @ weights[f"{name}.weight"].T
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

    def norm(x, name):
        centred = x - x.mean(dim=-1, keepdim=True)
        x = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]
        return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x

    x = weights["transformer.wte.weight"][ids]
    batch, length = ids.shape
    if rotary is None:
        x = x + weights["transformer.wpe.weight"][:length]
    for layer in [f"transformer.h.{i}" for i in range(LAYERS)]:
        fused = linear(norm(x, f"{layer}.ln_1"), f"{layer}.attn.c_attn")
        parts = fused.split(WIDTH, dim=-1)
        q, k, v = (part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        if rotary is not None:
            q, k = (turned(part, rotary == "interleaved") for part in (q, k))
        scores = q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        if causal:
            later = torch.ones(length, length, dtype=torch.bool).triu(diagonal=1)
            scores = scores.masked_fill(later, -math.inf)
        attended = (scores.exp() / scores.exp().sum(dim=-1, keepdim=True)) @ v
        x = x + linear(attended.transpose(1, 2).reshape(batch, length, WIDTH), f"{layer}.attn.c_proj")
        inner = linear(norm(x, f"{layer}.ln_2"), f"{layer}.mlp.c_fc")
        inner = 0.5 * inner * (1.0 + torch.erf(inner / math.sqrt(2.0)))  # the exact GELU
        x = x + linear(inner, f"{layer}.mlp.c_proj")
    return norm(x, "transformer.ln_f")


def ids_of(length=POSITIONS - 2):
    return torch.randint(0, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(7))


# ---- how the tests convert ----


def write(folder, weights, prefix="", **model_args):
    """An old checkpoint as trainers write it, with what stands beside the weights."""
    folder.mkdir(exist_ok=True)
    content = {
        "model": {f"{prefix}{name}": tensor for name, tensor in weights.items()},
        "model_args": {**ARGS, "bias": "transformer.ln_f.bias" in weights, "dropout": 0.0, **model_args},
        "optimizer": {"state": {}, "param_groups": []},
        "iter_num": 5,
        "best_val_loss": torch.tensor(1.5),
        "config": {"dataset": "letters", "learning_rate": 6e-4},
    }
    torch.save(content, folder / "ckpt.pt")
    return folder / "ckpt.pt"


def convert(path, *flags):
    """Converts into `converted` beside the checkpoint, and returns the model as it loads from there."""
    output = path.parent / "converted"
    made = convert_nanogpt_checkpoint.main([str(path), str(output), *map(str, flags)])
    loaded, info = type(made).from_pretrained(output, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    return loaded.eval()


def assert_same_logits(model, weights, causal, rotary=None, atol=1e-5):
    ids = ids_of()
    states = old_states(weights, ids, causal, rotary)
    output = model(ids)
    assert output.logits.dtype == states.dtype
    head = weights.get("lm_head.weight", weights["transformer.wte.weight"])
    torch.testing.assert_close(output.logits, states @ head.T, atol=atol, rtol=0)
    if "critic_head.weight" in weights:
        critic = (states @ weights["critic_head.weight"].T).squeeze(-1)
        torch.testing.assert_close(output.critic_logits, critic, atol=atol, rtol=0)
    else:
        assert output.critic_logits is None


# ---- exactness ----


@pytest.mark.parametrize("critic", [False, True], ids=["plain", "critic"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("rotary", [None, "halves", "interleaved"])
@pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float32", "float64"]
)
def test_the_converted_model_gives_the_logits_of_the_old_one(tmp_path, causal, rotary, bias, critic, dtype, atol):
    weights = old_weights(bias=bias, absolute=rotary is None, critic=critic, dtype=dtype)
    kinds = {
        "attention_type": "causal" if causal else "bidirectional",
        "position_encoding": "absolute" if rotary is None else "rotary",
    }
    model = convert(write(tmp_path, weights, **kinds), *(["--rotary_interleaved"] if rotary == "interleaved" else []))
    assert (model.config.is_causal, model.config.use_bias) == (causal, bias)
    assert_same_logits(model, weights, causal, rotary, atol)


def test_the_convention_of_rotary_positions_is_not_guessed(tmp_path):
    weights = old_weights(absolute=False, dtype=torch.float64)
    path = write(tmp_path, weights, attention_type="bidirectional")
    wrong = convert(path)(ids_of()).logits
    assert (
        wrong - old_states(weights, ids_of(), False, "interleaved") @ weights["lm_head.weight"].T
    ).abs().max() > 0.1


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_names_behind_wrappers_are_understood(tmp_path, prefix):
    weights = old_weights(critic=True)
    assert_same_logits(convert(write(tmp_path, weights, prefix=prefix)), weights, causal=True)


def test_a_plain_nanogpt_is_causal_with_learnt_positions_unless_a_flag_says_otherwise(tmp_path):
    weights = old_weights()
    path = write(tmp_path, weights)
    assert_same_logits(convert(path), weights, causal=True)
    other = write(tmp_path / "other", weights)
    assert_same_logits(convert(other, "--attention_type", "bidirectional"), weights, causal=False)


def test_biases_of_norms_alone_convert_exactly(tmp_path):
    weights = old_weights(dtype=torch.float64)
    weights = {k: v for k, v in weights.items() if not k.endswith("bias") or "ln_" in k}
    model = convert(write(tmp_path, weights, bias=False))
    assert model.config.use_bias
    assert_same_logits(model, weights, causal=True, atol=1e-10)


def test_an_lm_head_of_its_own_stays_its_own(tmp_path):
    weights = old_weights() | {"lm_head.weight": torch.randn(VOCABULARY, WIDTH)}
    model = convert(write(tmp_path, weights))
    assert not model.config.tie_word_embeddings
    assert_same_logits(model, weights, causal=True)


def test_a_tied_head_may_be_missing_and_buffers_are_passed_over(tmp_path, capsys):
    weights = old_weights()
    buffers = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, POSITIONS, POSITIONS).tril() for i in range(LAYERS)}
    buffers["transformer.h.0.attn.rotary_emb.inv_freq"] = torch.ones(4)
    path = write(tmp_path, {k: v for k, v in weights.items() if k != "lm_head.weight"} | buffers)
    model = convert(path)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert_same_logits(model, weights, causal=True)
    said = capsys.readouterr().out
    assert "dropped: 3" in said and "transformer.h.*.attn.bias -> a buffer, computed  (2 layers)" in said


def test_the_precision_of_the_file_is_kept(tmp_path):
    model = convert(write(tmp_path, old_weights(dtype=torch.bfloat16)))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


# ---- heads ----


@pytest.mark.parametrize("name", ["classifier", "token_head", "lm_head"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_token_classifier_gives_the_old_logits(tmp_path, name, bias):
    shapes = {f"{name}__weight": (5, WIDTH)} | ({f"{name}__bias": (5,)} if bias else {})
    weights = old_weights(**shapes)
    path = write(tmp_path, weights, mode="token_classifier", num_token_classes=5, attention_type="bidirectional")
    model = convert(path)
    assert type(model) is CriticGPTForTokenClassification and model.config.num_labels == 5
    expected = old_states(weights, ids_of(), False) @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)
    torch.testing.assert_close(model(ids_of()).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "parts", [("weight",), ("weight", "bias"), ("weight", "scale", "shift"), ("weight", "A", "B")]
)
def test_a_sequence_scorer_gives_the_old_scores(tmp_path, parts):
    shapes = {"weight": (1, WIDTH), "bias": (1,), "scale": (), "shift": (), "A": (1,), "B": (1,)}
    weights = old_weights(**{f"sequence_head__{part}": shapes[part] for part in parts})
    path = write(tmp_path, weights, mode="SEQUENCE_SCORER", num_token_classes=3, attention_type="bidirectional")
    model = convert(path)
    assert type(model) is CriticGPTForSequenceClassification and model.config.num_labels == 1
    head = {part: weights[f"sequence_head.{part}"] for part in parts}
    product = old_states(weights, ids_of(), False)[:, 0] @ head["weight"].T
    scale, shift = head.get("scale", head.get("A", 1.0)), head.get("shift", head.get("B", head.get("bias", 0.0)))
    torch.testing.assert_close(model(ids_of()).logits, torch.sigmoid(scale * product + shift), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["token_classifier", "sequence_scorer"])
def test_a_missing_head_is_drawn_by_the_seed_with_a_warning(tmp_path, mode, capsys):
    path = write(tmp_path, old_weights(), mode=mode)
    first = convert(path)
    captured = capsys.readouterr()
    name = "classifier.weight" if mode == "token_classifier" else "score.weight"
    assert f"{name} -> drawn: an untrained head" in captured.out
    assert "warning:" in captured.err and name in captured.err
    again, other = (
        convert_nanogpt_checkpoint.main([str(path), str(tmp_path / seed), "--seed", seed]) for seed in ("0", "1")
    )
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


@pytest.mark.parametrize("asked", ["flag", "model_args"])
def test_a_missing_critic_is_added_untrained_and_changes_no_logit(tmp_path, asked, capsys):
    weights = old_weights()
    path = write(tmp_path, weights, **({"add_critic_head": True} if asked == "model_args" else {}))
    model = convert(path, *(["--add_critic_head"] if asked == "flag" else []))
    assert "critic_head.weight did not come from the checkpoint" in capsys.readouterr().err
    assert model.critic_head is not None and not model.has_trained_critic
    expected = old_states(weights, ids_of(), causal=True) @ weights["lm_head.weight"].T
    torch.testing.assert_close(model(ids_of()).logits, expected, atol=1e-5, rtol=0)


def test_heads_of_another_mode_stay_behind_and_are_named(tmp_path, capsys):
    weights = old_weights(sequence_head__weight=(1, WIDTH), token_head__weight=(2, WIDTH))
    assert_same_logits(convert(write(tmp_path, weights)), weights, causal=True)
    said = capsys.readouterr().out
    assert "dropped: 3" in said and "sequence_head.weight -> " in said and "token_head.weight -> " in said


def test_trunk_only_leaves_every_head_behind(tmp_path, capsys):
    weights = old_weights(critic=True, classifier__weight=(2, WIDTH)) | {"lm_head.weight": torch.randn(2, WIDTH)}
    path = write(tmp_path, weights, mode="token_classifier", add_critic_head=True)
    model = convert(path, "--trunk_only", "--mask_token_id", 3)
    assert type(model) is CriticGPTForMaskedLM and model.critic_head is None and model.config.tie_word_embeddings
    expected = old_states(weights, ids_of(), causal=True)
    torch.testing.assert_close(model.model(ids_of()).last_hidden_state, expected, atol=1e-5, rtol=0)
    assert "dropped: 3" in capsys.readouterr().out
    other = convert_nanogpt_checkpoint.main([str(path), str(tmp_path / "b"), "--trunk_only", "--add_critic_head"])
    assert not other.has_trained_critic and other.critic_head is not None


# ---- configuration, vocabulary, tokenizer ----


def test_the_arguments_of_the_old_model_reach_the_configuration(tmp_path, capsys):
    given = {"critic_alpha": 0.25, "critic_target_scope": "all", "mask_token_id": 31, "pad_token_id": 30}
    model = convert(write(tmp_path, old_weights(critic=True), dropout=0.1, flash=True, **given))
    config = model.config
    assert {name: getattr(config, name) for name in given} == given
    assert config.hidden_dropout == config.attention_dropout == 0.1
    assert (config.hidden_act, config.layer_norm_eps, config.add_critic_head) == ("gelu", 1e-5, True)
    assert "model_args without a meaning here: flash" in capsys.readouterr().out


def test_new_tokens_get_the_mean_and_the_old_ones_keep_their_rows(tmp_path, capsys):
    weights = old_weights()
    path = write(tmp_path, weights)
    model = convert(
        path, "--vocab_size", VOCABULARY + 2, "--mask_token_id", VOCABULARY, "--pad_token_id", VOCABULARY + 1
    )
    assert "the mean of the known rows" in capsys.readouterr().out
    rows = model.model.embed_tokens.weight
    assert torch.equal(rows[:VOCABULARY], weights["transformer.wte.weight"])
    torch.testing.assert_close(rows[VOCABULARY:], weights["transformer.wte.weight"].mean(dim=0).expand(2, -1))
    logits, expected = model(ids_of()).logits, old_states(weights, ids_of(), True) @ weights["lm_head.weight"].T
    torch.testing.assert_close(logits[..., :VOCABULARY], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[..., VOCABULARY], expected.mean(dim=-1), atol=1e-5, rtol=0)


def test_a_vocabulary_padded_beyond_the_tokenizer_has_room_for_the_mask(tmp_path):
    rows = 0.3 * torch.randn(50_304, WIDTH, generator=torch.Generator().manual_seed(0))
    weights = old_weights() | {"transformer.wte.weight": rows, "lm_head.weight": rows}
    path = write(tmp_path, weights, vocab_size=50_304)
    model = convert(path, "--mask_token_id", 50_257, "--pad_token_id", 50_258)
    assert (model.config.vocab_size, model.config.mask_token_id, model.config.pad_token_id) == (50_304, 50_257, 50_258)
    assert_same_logits(model, weights, causal=True)


def test_an_untied_head_grows_as_well(tmp_path):
    weights = old_weights() | {"lm_head.weight": torch.randn(VOCABULARY, WIDTH)}
    model = convert(write(tmp_path, weights), "--vocab_size", VOCABULARY + 3)
    assert torch.equal(model.lm_head.weight[:VOCABULARY], weights["lm_head.weight"])
    torch.testing.assert_close(model.lm_head.weight[-1], weights["lm_head.weight"].mean(dim=0))


def test_with_a_tokenizer_the_folder_is_complete_and_generates(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path, old_weights(critic=True), attention_type="bidirectional")
    model = convert(path, "--tokenizer", tmp_path / "tokenizer")
    names = {file.name for file in (tmp_path / "converted").iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json"} <= names
    assert not any(name.startswith(".") for name in names)
    assert (model.config.mask_token_id, model.config.pad_token_id) == (tokenizer.mask_token_id, tokenizer.pad_token_id)
    output = model.generate(max_new_tokens=6, num_steps=3, seed=0)
    assert output.sequences.shape == (1, 6) and not (output.sequences == tokenizer.mask_token_id).any()


def test_a_causal_model_and_one_without_a_mask_token_come_with_a_warning(tmp_path, capsys):
    convert(write(tmp_path, old_weights()))
    said = capsys.readouterr().err
    assert "pass --mask_token_id" in said and "pass --attention_type bidirectional" in said


# ---- calibration ----


def test_a_table_beside_the_checkpoint_goes_along_under_the_new_name(tmp_path):
    path = write(tmp_path, old_weights(critic=True))
    table = CriticCalibration([0.001 * i for i in range(100)])
    document = {"/somebody/else/out/ckpt.pt": list(table.probabilities), "other.pt": [0.5] * 100}
    (tmp_path / "calibration.json").write_text(json.dumps(document))
    model = convert(path)
    written = json.loads((tmp_path / "converted" / "calibration.json").read_text())
    assert set(written) == {"model.safetensors", "__metadata__"}
    assert model.calibration.probabilities == table.probabilities
    assert model.calibration.metadata["fingerprint"] == model.fingerprint()
    assert "somebody" not in json.dumps(written)


@pytest.mark.parametrize("flags", [[], ["--add_critic_head"]])
def test_a_table_without_its_critic_stays_behind(tmp_path, flags, capsys):
    path = write(tmp_path, old_weights())
    (tmp_path / "calibration.json").write_text(json.dumps({"ckpt.pt": [0.5] * 100}))
    assert convert(path, *flags).calibration is None
    assert "stays behind" in capsys.readouterr().out
    assert not (tmp_path / "converted" / "calibration.json").exists()


# ---- refusals ----


def refused(path, *flags, parts):
    output = path.parent / "converted"
    with pytest.raises((ValueError, StrictDataclassError)) as error:
        convert_nanogpt_checkpoint.main([str(path), str(output), *map(str, flags)])
    text = one_line(error.value)
    assert (
        re.match(r"[`\w.]+ .*must ", text) and text.endswith(".") and ". " not in text and "weights_only" not in text
    )
    for part in parts:
        assert part in text
    assert not output.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle", "bare pickle of protocol 2"])
def test_a_file_that_carries_code_is_refused_and_runs_nothing(tmp_path, kind, monkeypatch):
    # What the environment allows others is not allowed here.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    target, path = tmp_path / "was-run", tmp_path / "ckpt.pt"
    content = {"model": old_weights(), "model_args": ARGS, "extra": Payload(target)}
    if kind.startswith("bare pickle"):
        path.write_bytes(pickle.dumps(content["extra"], protocol=2 if kind.endswith("2") else None))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refused(path, parts=["tensors and plain values only", "something else" if kind == "bare pickle" else "io.open"])
    assert not target.exists()
    # The payload is a real one.
    pickle.loads(pickle.dumps(content["extra"])).close()
    assert target.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 broken"])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    (tmp_path / "ckpt.pt").write_bytes(content)
    refused(tmp_path / "ckpt.pt", parts=["`checkpoint` must "])


def test_a_file_cut_short_is_one_sentence(tmp_path):
    path = write(tmp_path, old_weights())
    path.write_bytes(path.read_bytes()[:-5000])
    refused(path, parts=["`checkpoint` must be a whole file"])


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([1, 2], "got list"),
        ({"model": {}}, "got ['model']"),
        ({"a.weight": torch.zeros(1)}, "got ['a.weight']"),
        ({"model": {"transformer.wte.weight": 3}, "model_args": ARGS}, "as a int"),
        ({"model": {"x": torch.zeros(1), "module.x": torch.zeros(1)}, "model_args": ARGS}, "got x twice"),
        ({"model": {}, "model_args": {}}, "`n_layer` in model_args"),
        ({"model": {}, "model_args": {**ARGS, "n_head": "two"}}, "got 'two'"),
        ({"model": {}, "model_args": ARGS}, "must hold transformer.wte.weight"),
        ({"model": {}, "model_args": {**ARGS, "mode": "dreamer"}}, "got 'dreamer'"),
    ],
)
def test_what_is_no_checkpoint_of_this_kind_is_one_sentence(tmp_path, content, part):
    torch.save(content, tmp_path / "ckpt.pt")
    refused(tmp_path / "ckpt.pt", parts=[part])


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"transformer.h.1.mlp.c_fc.weight": None}, ["must hold transformer.h.1.mlp.c_fc.weight"]),
        ({"transformer.h.1.ln_2.bias": None}, ["must hold transformer.h.1.ln_2.bias"]),
        ({"transformer.wpe.weight": torch.zeros(9, WIDTH)}, ["transformer.wpe.weight", "(12, 16)", "(9, 16)"]),
        ({"transformer.h.0.attn.c_attn.weight": torch.zeros(WIDTH, 3 * WIDTH)}, ["c_attn.weight", "(48, 16)"]),
        ({"transformer.ln_f.weight": torch.zeros(WIDTH, dtype=torch.int64)}, ["floating-point", "int64"]),
        ({"transformer.h.2.ln_1.weight": torch.zeros(WIDTH)}, ["transformer.h.2.ln_1.weight", "--drop_unknown"]),
        ({"critic_head.weight": torch.zeros(2, WIDTH)}, ["critic_head.weight", "(1, 16)"]),
        ({"critic_head.weight": torch.zeros(1, WIDTH), "critic_head.bias": torch.zeros(1)}, ["critic_head.bias"]),
        ({"lm_head.bias": torch.zeros(VOCABULARY)}, ["lm_head.bias"]),
    ],
)
def test_tensors_missing_misshapen_or_unknown_are_one_sentence(tmp_path, change, parts):
    weights = {name: tensor for name, tensor in (old_weights() | change).items() if tensor is not None}
    refused(write(tmp_path, weights), parts=parts)


def test_unknown_tensors_can_be_left_behind(tmp_path, capsys):
    weights = old_weights()
    path = write(tmp_path, weights | {"something.else": torch.zeros(3)})
    assert_same_logits(convert(path, "--drop_unknown"), weights, causal=True)
    assert "something.else -> unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--vocab_size", VOCABULARY - 1], ["`vocab_size` must be at least the checkpoint's 32, got 31"]),
        (["--rotary_interleaved"], ["`rotary_interleaved`", "absolute"]),
        (["--tokenizer", "/no/such/folder"], ["`tokenizer` must be the folder"]),
        (["--mask_token_id", VOCABULARY], ["`mask_token_id` must be in [0, vocab_size = 32), got 32"]),
    ],
)
def test_wrong_flags_are_one_sentence_and_write_nothing(tmp_path, flags, parts):
    refused(write(tmp_path, old_weights()), *flags, parts=parts)


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path, old_weights())
    folder = tmp_path / "tokenizer"
    refused(path, "--tokenizer", folder, "--mask_token_id", 7, parts=["`mask_token_id` must be the tokenizer's, 1"])
    larger = copy.deepcopy(tokenizer)  # shared by all tests
    larger.add_tokens(["new"])
    larger.save_pretrained(folder)
    refused(path, "--tokenizer", folder, parts=["33 tokens of the tokenizer, got 32", "--vocab_size 33"])


def test_a_critic_for_another_class_is_refused(tmp_path):
    refused(write(tmp_path, old_weights(), mode="sequence_scorer"), "--add_critic_head", parts=["`add_critic_head`"])


def test_a_scorer_with_a_bias_inside_of_its_scale_is_refused(tmp_path):
    head = {"sequence_head__weight": (1, WIDTH), "sequence_head__bias": (1,), "sequence_head__scale": (1,)}
    refused(write(tmp_path, old_weights(**head), mode="sequence_scorer"), parts=["sequence_head.bias"])


def test_a_folder_with_something_in_it_is_not_touched(tmp_path):
    path = write(tmp_path, old_weights())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="`output_dir` must be new or an empty folder"):
        convert_nanogpt_checkpoint.main([str(path), str(tmp_path / "taken")])
    assert [file.name for file in (tmp_path / "taken").iterdir()] == ["mine.txt"]


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "ckpt.pt", parts=["`checkpoint` must be a file", "ckpt.pt"])


@pytest.mark.slow
def test_as_a_program_an_error_is_one_line(tmp_path):
    command = [sys.executable, convert_nanogpt_checkpoint.__file__, str(tmp_path / "none.pt"), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.startswith("convert_nanogpt_checkpoint: `checkpoint` must be a file")
    assert len(run.stderr.strip().splitlines()) == 1
