"""Claims about `scripts/train.py`."""

import dataclasses
import json

import pytest
import safetensors.torch
import torch
from datasets import Dataset, DatasetDict
from prepared_folders import as_flags, prepare_sudoku
from sentences import one_sentence
from transformers import AutoTokenizer

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.hub.files import locked
from critic_gpt.scripts import train, training_flags, training_setup


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return prepare_sudoku(tmp_path_factory.mktemp("prepared") / "sudoku")


SHAPE = as_flags(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)


def flags(data_dir, output_dir, *more, shape=SHAPE):
    fixed = {"use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 4, "max_steps": 3}
    return [*as_flags(data_dir=data_dir, output_dir=output_dir, **fixed), *shape, *more]


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    more = ("--add_critic_head", "True", "--critic_regime", "full", "--save_steps", "2", "--logging_steps", "1")
    return folder, train.main(flags(data_dir, folder, *more))


def test_three_steps_leave_a_complete_folder(trained):
    folder, metrics = trained
    names = {path.name for path in folder.iterdir()}
    expected = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "trainer_state.json"}
    assert {*expected, "training_metrics.json", "checkpoint-2", "checkpoint-3"} <= names
    assert not [name for name in names if name.endswith(".tmp")]
    assert json.loads((folder / "training_metrics.json").read_text()) == metrics
    model = CriticGPTForMaskedLM.from_pretrained(folder)
    assert metrics["num_parameters"] == model.num_parameters()
    assert metrics["eval_critic_loss"] > 0 and metrics["epoch"] == 0.5
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == 3 and len([log for log in state["log_history"] if "loss" in log]) == 3
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (16, 1, 2)
    assert (config.vocab_size, config.max_position_embeddings) == (6, 16)
    assert (config.mask_token_id, config.pad_token_id) == (1, 0)
    assert (config.add_critic_head, config.critic_regime, config.critic_alpha) == (True, "full", 0.5)


def test_every_field_that_shapes_the_model_or_its_critic_is_a_flag(data_dir, tmp_path):
    of_the_data = {"vocab_size", "mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id"}
    of_the_data |= {"suppressed_token_ids", "drawable_vocab_size"}
    shaping = set(CriticGPTConfig.__annotations__) - of_the_data - {"rope_parameters", "regression_scale_init"}
    assert {"intermediate_size", "hidden_act", "critic_alpha", "correction_alpha"} <= shaping
    assert shaping | {"rope_theta"} <= {field.name for field in dataclasses.fields(training_flags.ModelArguments)}

    wanted = {"intermediate_size": 24, "hidden_act": "relu", "layer_norm_eps": 1e-4, "use_bias": True}
    wanted |= {"tie_word_embeddings": False, "is_causal": True, "max_position_embeddings": 20, "rope_theta": 500.0}
    more = [text for name, value in wanted.items() for text in (f"--{name}", str(value))]
    train.main(flags(data_dir, tmp_path, *more))
    model = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert model.config.rope_parameters["rope_theta"] == wanted.pop("rope_theta")
    assert {name: getattr(model.config, name) for name in wanted} == wanted
    assert model.model.layers[0].mlp.up_proj.weight.shape == (24, 16)


def test_a_trained_model_keeps_its_critic_and_settings_unless_told_otherwise(data_dir, trained, tmp_path):
    more = ("--model_name_or_path", str(trained[0]), "--critic_alpha", "0.25")
    train.main(flags(data_dir, tmp_path, *more, shape=[]))
    config = CriticGPTForMaskedLM.from_pretrained(tmp_path).config
    assert (config.add_critic_head, config.critic_regime, config.critic_alpha) == (True, "full", 0.25)


def test_every_option_of_the_critic_s_training_reaches_a_run(data_dir, tmp_path):
    config = {"critic_fill_exponent": 2.0, "critic_head_type": "mlp", "critic_detach": True, "remaining_alpha": 0.5}
    given = {**config, "critic_batch_share": 0.5, "muon_learning_rate": 0.02, "ema_decay": 0.9}
    more = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    more += ["--add_critic_head", "True", "--save_steps", "2", "--logging_steps", "1"]
    metrics = train.main(flags(data_dir, tmp_path, *more))
    model = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert {name: getattr(model.config, name) for name in config} == config
    assert metrics["eval_remaining_loss"] > 0 and "eval_critic_auroc" in metrics
    args = train.parse(flags(data_dir, tmp_path, *more))[2]
    assert (args.critic_batch_share, args.muon_learning_rate, args.ema_decay) == (0.5, 0.02, 0.9)
    assert (tmp_path / "checkpoint-2" / "training_weights.safetensors").exists()
    last = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    (tmp_path / "checkpoint-3" / "trainer_state.json").unlink()
    train.main(flags(data_dir, tmp_path, *more, "--resume_from_checkpoint", "auto"))
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "loss" in log] == [1, 2, 3]
    for name, tensor in CriticGPTForMaskedLM.from_pretrained(tmp_path).state_dict().items():
        assert torch.equal(tensor, last[name]), name


# ---- precision ----


def test_precision_flags():
    model = training_flags.ModelArguments()
    assert training_setup.precision_flags([], model, "fp32") == []
    assert training_setup.precision_flags([], model, "bf16")[:2] == ["--bf16", "True"]
    assert training_setup.precision_flags(["--bf16", "False"], model, "auto") == []
    with pytest.raises(ValueError, match="`precision` must be auto beside --fp16"):
        training_setup.precision_flags(["--fp16"], model, "bf16")


@pytest.mark.parametrize("units", ["amx_bf16", "avx512_bf16", None])
@pytest.mark.parametrize("width", [16, 4096])
def test_auto_takes_bf16_on_processors_that_multiply_in_it_from_some_width_on(monkeypatch, units, width):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    known = dict.fromkeys(("amx_bf16", "avx512_bf16", "avx512_f"), False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known | {units or "avx512_f": True})
    fast = units is not None and width == 4096
    assert training_setup.bf16_is_fast(width) is fast
    assert training_setup.precision_flags([], training_flags.ModelArguments(hidden_size=width), "auto") == (
        ["--bf16", "True", "--use_cpu", "True"] if fast else []
    )


# ---- divergence ----


@pytest.mark.parametrize("save_steps", ["1", "100"], ids=["checkpoints", "none"])
def test_a_training_that_diverges_is_refused_and_leaves_nothing_that_looks_sound(data_dir, tmp_path, save_steps):
    more = ("--learning_rate", "1e30", "--lr_scheduler_type", "constant", "--save_steps", save_steps)
    with one_sentence("must", "got", "`learning_rate`", "1e+30", "diverged", "--warmup_steps"):
        train.main(flags(data_dir, tmp_path, *more))
    assert not list(tmp_path.glob("*.safetensors"))
    for path in tmp_path.rglob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in safetensors.torch.load_file(path).values()), path


def test_sound_weights_with_an_infinite_loss_are_taken_out_again(tmp_path):
    for name in ("model.safetensors", "model-00001-of-00002.safetensors", "config.json"):
        (tmp_path / name).write_bytes(b"")
    training_setup.check_bound({"eval_loss": 1.5}, tmp_path)
    training_setup.check_bound({}, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(ValueError, match=r"`learning_rate` must .* got a loss of nan"):
        training_setup.check_bound({"eval_loss": float("nan")}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


# ---- errors ----


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (("--precision", "fp8"), "precision"),
        (("--model_name_or_path", "x", "--hidden_size", "8", "--precision", "fp32"), "hidden_size"),
        (("--model_name_or_path", "x", "--use_bias", "True", "--precision", "fp32"), "use_bias"),
        (("--rope_theta", "500", "--position_embedding_type", "absolute"), "rope_theta"),
        (("--max_position_embeddings", "8"), "max_position_embeddings"),
        (("--critic_detach", "True"), "critic_detach"),
        (("--remaining_alpha", "0.5", "--add_critic_head", "False"), "remaining_alpha"),
        (("--ema_decay", "1.0"), "ema_decay"),
        (("--muon_learning_rate", "0.02", "--optim", "sgd"), "optim"),
    ],
)
def test_flags_that_do_not_fit_are_refused(data_dir, tmp_path, more, field):
    with one_sentence("must", "got", f"`{field}`"):
        train.main(flags(data_dir, tmp_path / "out", *more, shape=[]))
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_vocabulary_and_a_missing_folder_are_refused(trained, tmp_path):
    data = prepare_sudoku(tmp_path / "data", size=6, splits=(4, 2, 2))
    with one_sentence("must", "got", "`model_name_or_path`", "8 tokens", "model of 6 tokens", "--tokenizer"):
        train.main(flags(data, tmp_path / "out", "--model_name_or_path", str(trained[0]), shape=[]))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*prepare_data"):
        train.main(flags(tmp_path / "nowhere", tmp_path / "out"))


def test_the_long_help_names_the_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help-all"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    model = {"--add_critic_head", "--position_embedding_type", "--num_labels", "--balanced_class_weights"}
    model |= {"--critic_fill_exponent", "--critic_head_type", "--critic_detach", "--remaining_alpha"}
    training = {"--critic_warmup_end", "--masking", "--loss_modifiers"}
    training |= {"--critic_batch_share", "--muon_learning_rate", "--ema_decay"}
    freezing = {"--freeze_trunk", "--untie", "--unfreeze_step", "--unfreeze_lr_multiplier"}
    for flag in {"--data_dir", "--task", "--streaming", "--precision"} | model | training | freezing:
        assert flag in out


def test_a_folder_that_another_training_writes_into_is_left_to_it(data_dir, tmp_path):
    with locked(tmp_path / "training"), pytest.raises(TimeoutError, match="must be free to be written, got a lock"):
        train.main(flags(data_dir, tmp_path))
    assert not list(tmp_path.glob("checkpoint-*")) and not (tmp_path / "config.json").exists()


def test_much_padding_is_told_with_the_way_out_of_it(data_dir, tmp_path, capsys):
    rows = Dataset.from_dict({"input_ids": [[2, 3, 4, 5] * (length // 4) for length in (4, 16) * 32]})
    DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "data"))
    AutoTokenizer.from_pretrained(data_dir).save_pretrained(tmp_path / "data")
    train.main(flags(tmp_path / "data", tmp_path / "random"))
    said = capsys.readouterr().out
    assert "34% of what is read is padding" in said and "--train_sampling_strategy group_by_length" in said
    train.main(flags(tmp_path / "data", tmp_path / "grouped", "--train_sampling_strategy", "group_by_length"))
    assert "is padding" not in capsys.readouterr().out
    train.main(flags(data_dir, tmp_path / "equal"))
    assert "is padding" not in capsys.readouterr().out


def test_a_column_called_length_may_hold_anything_unless_rows_are_ordered_by_it(data_dir, tmp_path):
    rows = Dataset.from_dict({"input_ids": [[2, 3, 4, 5]] * 8, "length": ["short"] * 8})
    DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "data"))
    AutoTokenizer.from_pretrained(data_dir).save_pretrained(tmp_path / "data")
    train.main(flags(tmp_path / "data", tmp_path / "random"))
    grouped = ("--train_sampling_strategy", "group_by_length")
    with one_sentence("`length_column_name`", "'short'"):
        train.main(flags(tmp_path / "data", tmp_path / "grouped", *grouped))
    train.main(flags(tmp_path / "data", tmp_path / "counted", *grouped, "--length_column_name", "tokens"))
