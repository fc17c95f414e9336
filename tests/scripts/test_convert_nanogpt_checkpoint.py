# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/convert_nanogpt_checkpoint.py`, against the forward pass of `old_nanogpt`."""

import copy
import json
import pickle
import re

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from old_nanogpt import ARGS, LAYERS, POSITIONS, VOCABULARY, WIDTH, ids_of, old_states, old_weights, write
from payload import Payload

from critic_gpt import (
    CriticCalibration,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
)
from critic_gpt.scripts import convert_nanogpt_checkpoint, one_line


# ---- how the tests convert ----


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


KINDS = [
    (causal, rotary, bias, True, torch.float64, 1e-10)
    for causal in (False, True)
    for rotary in (None, "halves", "interleaved")
    for bias in (False, True)
]


@pytest.mark.parametrize(
    ("causal", "rotary", "bias", "critic", "dtype", "atol"),
    [*KINDS, (False, "halves", True, False, torch.float64, 1e-10), (False, "halves", True, True, torch.float32, 1e-5)],
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
    if rotary == "interleaved":  # the convention of rotary positions is not guessed
        expected = old_states(weights, ids_of(), causal, rotary) @ weights["lm_head.weight"].T
        plain = convert_nanogpt_checkpoint.main([str(tmp_path / "ckpt.pt"), str(tmp_path / "plain")])
        assert (plain(ids_of()).logits - expected).abs().max() > 0.1


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


def test_biases_of_norms_alone_convert_exactly_and_the_precision_of_the_file_is_kept(tmp_path):
    weights = old_weights(dtype=torch.float64)
    weights = {k: v for k, v in weights.items() if not k.endswith("bias") or "ln_" in k}
    model = convert(write(tmp_path, weights, bias=False))
    assert model.config.use_bias
    assert_same_logits(model, weights, causal=True, atol=1e-10)
    (tmp_path / "half").mkdir()
    model = convert(write(tmp_path / "half", old_weights(dtype=torch.bfloat16)))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


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


@pytest.mark.parametrize("tied", [True, False])
def test_new_tokens_get_the_mean_and_the_old_ones_keep_their_rows(tmp_path, capsys, tied):
    weights = old_weights() | ({} if tied else {"lm_head.weight": torch.randn(VOCABULARY, WIDTH)})
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
    assert re.match(r"[`\w.]+ .*must ", text) and text.endswith(".") and ". " not in text
    assert "weights_only" not in text and all(part in text for part in parts), text
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


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "must be a file"),
        (b"", "must "),
        (b"not a checkpoint at all", "must "),
        (b"PK\x03\x04 broken", "must "),
        (slice(-5000), "must be a whole file"),
    ],
)
def test_a_file_that_is_missing_damaged_or_cut_short_is_one_sentence(tmp_path, content, part):
    path = write(tmp_path, old_weights())
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[content] if isinstance(content, slice) else content)
    refused(path, parts=[f"`checkpoint` {part}", "ckpt.pt" if content is None else ""])


CRITIC = {"critic_head.weight": torch.zeros(1, WIDTH)}
SCORER = {"mode": "sequence_scorer"}
SCALED = {"sequence_head.weight": torch.zeros(1, WIDTH), "sequence_head.scale": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "model_args", "flags", "parts"),
    [
        ({"transformer.h.1.mlp.c_fc.weight": None}, {}, [], ["must hold transformer.h.1.mlp.c_fc.weight"]),
        ({"transformer.h.1.ln_2.bias": None}, {}, [], ["must hold transformer.h.1.ln_2.bias"]),
        ({"transformer.wpe.weight": torch.zeros(9, WIDTH)}, {}, [], ["transformer.wpe.weight", "(12, 16)", "(9, 16)"]),
        ({"transformer.h.0.attn.c_attn.weight": torch.zeros(WIDTH, 48)}, {}, [], ["c_attn.weight", "(48, 16)"]),
        ({"transformer.ln_f.weight": torch.zeros(WIDTH).long()}, {}, [], ["floating-point", "int64"]),
        ({"transformer.h.2.ln_1.weight": torch.zeros(WIDTH)}, {}, [], ["h.2.ln_1.weight", "--drop_unknown"]),
        ({"critic_head.weight": torch.zeros(2, WIDTH)}, {}, [], ["critic_head.weight", "(1, 16)"]),
        ({**CRITIC, "critic_head.bias": torch.zeros(1)}, {}, [], ["critic_head.bias"]),
        ({"lm_head.bias": torch.zeros(VOCABULARY)}, {}, [], ["lm_head.bias"]),
        ({**SCALED, "sequence_head.bias": torch.zeros(1)}, SCORER, [], ["sequence_head.bias"]),
        ({}, SCORER, ["--add_critic_head"], ["`add_critic_head`"]),
        ({}, {}, ["--vocab_size", 31], ["`vocab_size` must be at least the checkpoint's 32, got 31"]),
        ({}, {}, ["--rotary_interleaved"], ["`rotary_interleaved`", "absolute"]),
        ({}, {}, ["--tokenizer", "/no/such/folder"], ["`tokenizer` must be the folder"]),
        ({}, {}, ["--mask_token_id", 32], ["`mask_token_id` must be in [0, vocab_size = 32), got 32"]),
    ],
)
def test_tensors_and_flags_that_do_not_fit_are_one_sentence(tmp_path, change, model_args, flags, parts):
    weights = {name: tensor for name, tensor in (old_weights() | change).items() if tensor is not None}
    refused(write(tmp_path, weights, **model_args), *flags, parts=parts)


def test_unknown_tensors_can_be_left_behind_and_their_names_cannot_move_the_cursor(tmp_path, capsys):
    weights = old_weights()
    path = write(tmp_path, weights | {"something.\x1b[2Jelse": torch.zeros(3)})
    assert_same_logits(convert(path, "--drop_unknown"), weights, causal=True)
    assert "something.␛[2Jelse -> unknown" in capsys.readouterr().out


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path, old_weights())
    folder = tmp_path / "tokenizer"
    refused(path, "--tokenizer", folder, "--mask_token_id", 7, parts=["`mask_token_id` must be the tokenizer's, 1"])
    larger = copy.deepcopy(tokenizer)  # shared by all tests
    larger.add_tokens(["new"])
    larger.save_pretrained(folder)
    refused(path, "--tokenizer", folder, parts=["33 tokens of the tokenizer, got 32", "--vocab_size 33"])


def test_a_folder_with_something_in_it_is_not_touched(tmp_path):
    path = write(tmp_path, old_weights())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="`output_dir` must be new or an empty folder"):
        convert_nanogpt_checkpoint.main([str(path), str(tmp_path / "taken")])
    assert [file.name for file in (tmp_path / "taken").iterdir()] == ["mine.txt"]
