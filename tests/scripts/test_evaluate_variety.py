# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/evaluate.py` where many answers are right: D, what is better, temperatures, own data."""

import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from prepared_folders import prepare_text
from sentences import one_sentence
from tiny_masked_lms import WORDS, framed_tokenizer
from transformers import AutoModel, AutoTokenizer, GPT2Config, RobertaConfig, T5Config

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.evaluation.divergence import ERROR, EXCESS
from critic_gpt.evaluation.mauve import Mauve
from critic_gpt.evaluation.results import merge_metrics, record_of
from critic_gpt.scripts import evaluate, prepare_data, train
from critic_gpt.tasks import SudokuTask, TextTask, generation_for


TINY = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    text = "".join(f"line {i} of a tiny text\n" for i in range(120))
    (folder / "corpus.txt").write_text(text, encoding="utf-8")
    return prepare_text(folder / "text", folder / "corpus.txt", sequence_length=16, test_share=0.2)


@pytest.fixture(scope="module")
def model_dir(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "critic"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(data_dir)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
    special = {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "pad_token_id": 0, "mask_token_id": 1}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**shape, **special, add_critic_head=True))
    torch.nn.init.normal_(model.critic_head.weight)
    model.generation_config.answers = "many"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def own_dir(data_dir, tmp_path_factory):
    """Token ids of different lengths and a tokenizer, without a task."""
    folder, tokenizer = tmp_path_factory.mktemp("own"), AutoTokenizer.from_pretrained(data_dir)
    texts = [f"line {i} of a tiny"[: 12 + i % 5] for i in range(40)]
    rows = Dataset.from_dict({"input_ids": [tokenizer(text)["input_ids"] for text in texts]})
    DatasetDict({"train": rows, "validation": rows}).save_to_disk(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def run(model_dir, data_dir, output_dir, *more):
    small = ["--num_samples", "6", "--forward_passes", "2", "4", "--batch_size", "6", "--num_judged", "8"]
    flags = ["--model", model_dir, "--data_dir", data_dir, "--output_dir", output_dir, *small, *more]
    return evaluate.main([str(flag) for flag in flags])


def test_text_has_d_first_in_tables_and_the_picture_and_says_what_is_better(model_dir, data_dir, tmp_path, capsys):
    metrics = run(model_dir, data_dir, tmp_path, "--strategies", "random", "critic", "critic_one", "critic_many")
    assert (tmp_path / f"{EXCESS}.png").read_bytes().startswith(b"\x89PNG")
    assert set(metrics[EXCESS]) == {"random", "critic", "critic_one", "critic_many"}
    assert metrics["real_text"][EXCESS] == 0.0 and metrics["real_text"][ERROR] > 0
    better = metrics["settings"]["better"]
    assert (better[EXCESS], better["distinct_6gram_rate"]) == ("lower", "nearer to real")
    out = capsys.readouterr().out
    assert "held-out text, bits, by forward passes; lower is better (share of distinct" in out
    # The model was trained for many answers; either family can be named.
    cells = {name: row["4"] for name, row in metrics["comparison"].items()}
    assert cells["critic"]["figures"] == cells["critic_many"]["figures"] != cells["critic_one"]["figures"]
    assert cells["critic"]["arguments"]["temperature"] == cells["critic_many"]["arguments"]["temperature"] < 1
    assert cells["random"]["arguments"]["temperature"] == 1.0


def test_data_of_ones_own_are_measured_by_d_alone_at_their_own_lengths(model_dir, own_dir, tmp_path):
    metrics = run(model_dir, own_dir, tmp_path, "--split", "val", "--strategies", "random", "--plot")
    assert metrics["settings"]["task"] == "own data" and 0 < metrics[EXCESS]["random"]["2"] < 1
    assert "known_word_rate" not in metrics and {EXCESS, ERROR} < set(metrics["real_text"])
    with one_sentence("`split`", "train, validation", "'test'"):
        run(model_dir, own_dir, tmp_path)


def test_what_there_is_nothing_to_measure_by_is_null_and_neither_chosen_nor_in_the_way_of_a_report(tmp_path, capsys):
    pytest.importorskip("fcd")
    (tmp_path / "some.smi").write_text("\n".join("C" * n + end for n in range(1, 20) for end in ("", "O", "N", "1C")))
    shares = ("--validation_share", "0.2", "--test_share", "0.3", "--sequence_length", "24")
    prepare_data.main(
        ["--task", "smiles", "--source", f"{tmp_path}/some.smi", *shares, "--output_dir", f"{tmp_path}/d"]
    )
    shape = ("--hidden_size", "8", "--num_hidden_layers", "1", "--num_attention_heads", "1", "--max_steps", "1")
    flags = ("--data_dir", f"{tmp_path}/d", "--output_dir", f"{tmp_path}/m", "--add_critic_head", "True")
    train.main([*flags, *shape, "--report_to", "none", "--use_cpu", "True"])
    # One sample is no distribution.
    more = ("--strategies", "critic", "--num_samples", 1, "--plot", "--verifier", 1, "--tune")
    metrics = run(tmp_path / "m", tmp_path / "d", tmp_path / "r", *more, "--tuned_by", "fcd", "--forward_passes", 1)
    assert metrics["fcd"]["critic"] == {"1": None} and metrics["real_text"]["fcd"] is None
    assert "NaN" not in (tmp_path / "r" / "metrics.json").read_text()
    assert "fcd.png" not in metrics["pictures"] and "valid_rate.png" in metrics["pictures"]
    assert "none" in capsys.readouterr().out
    # The verifier judges what the comparison shows.
    single = metrics["verifier"]["1"]["single"]["success_rate"]["mean"]
    assert single == metrics["valid_rate"]["critic"]["1"]


@pytest.mark.parametrize("figure", [None, "unigram_entropy_bits"])
def test_settings_and_temperatures_are_chosen_by_the_figure_asked_for(model_dir, data_dir, tmp_path, figure):
    more = ("--strategies", "confidence", "--tune", "--tuning_samples", 6, "--tuning_temperatures", 1, 0.3)
    metrics = run(model_dir, data_dir, tmp_path, *more, *(() if figure is None else ("--tuned_by", figure)))
    assert metrics["settings"]["tuned_by"] == (figure or EXCESS)
    cell = metrics["comparison"]["confidence"]["4"]
    tried = cell["tuning"]["tried"]
    assert {one["arguments"]["temperature"] for one in tried} == {1.0, 0.3}
    assert len({json.dumps(one["arguments"], sort_keys=True) for one in tried}) == len(tried)
    chosen = next(one["figures"] for one in tried if one["arguments"] == cell["arguments"])
    values = [one["figures"][figure or EXCESS] for one in tried]
    if figure is None:
        assert chosen[EXCESS] == min(values)
    elif figure == "unigram_entropy_bits":
        real = metrics["real_text"][figure]
        assert abs(chosen[figure] - real) == min(abs(value - real) for value in values)
    recorded = record_of(metrics)
    assert recorded["settings"]["tuning_temperatures"] == [1.0, 0.3]
    other = {**metrics, "comparison": {"random": metrics["comparison"]["confidence"]}}
    other["settings"] = {**metrics["settings"], "tuning_seed": None, "tuning_temperatures": None, "tuned_by": None}
    assert merge_metrics([other, metrics])["settings"]["tuned_by"] == (figure or EXCESS)


def test_the_likeliest_tokens_are_among_what_may_be_chosen(model_dir, data_dir, tmp_path):
    """At temperature 0, also of settings that have another temperature at the end."""
    more = ("--strategies", "critic_many", "--tune", "--tuning_samples", 6, "--tuning_temperatures", 0, 0.7)
    tried = run(model_dir, data_dir, tmp_path, *more)["comparison"]["critic_many"]["2"]["tuning"]["tried"]
    ends = {one["arguments"]["temperature"]: one["arguments"].get("temperature_end") for one in tried[1:3]}
    assert ends[0.0] is None and ends[0.7] == tried[0]["arguments"]["temperature_end"] > 0


def test_a_split_of_too_few_sequences_is_refused_before_the_work(model_dir, own_dir, tmp_path):
    splits = DatasetDict.load_from_disk(str(own_dir))
    splits["validation"] = splits["validation"].select(range(3))
    splits.save_to_disk(str(tmp_path / "few"))
    AutoTokenizer.from_pretrained(own_dir).save_pretrained(tmp_path / "few")
    with one_sentence("`split`", "at least 4 sequences", "got 'validation' with 3", "choose another one"):
        run(model_dir, tmp_path / "few", tmp_path / "report", "--split", "validation")
    assert not (tmp_path / "report").exists()


def test_held_out_sequences_with_nothing_in_common_are_said_to_tell_little(model_dir, own_dir, tmp_path, caplog):
    """Where D of anything is about 0, as of real sequences."""
    run(model_dir, own_dir, tmp_path / "alike", "--split", "validation", "--strategies", "random")
    assert "D can tell little" not in caplog.text
    splits, draw = DatasetDict.load_from_disk(str(own_dir)), np.random.default_rng(0)
    splits["validation"] = Dataset.from_dict({"input_ids": draw.integers(2, 12, (5, 8)).tolist()})
    splits.save_to_disk(str(tmp_path / "unlike"))
    AutoTokenizer.from_pretrained(own_dir).save_pretrained(tmp_path / "unlike")
    found = run(model_dir, tmp_path / "unlike", tmp_path / "r", "--split", "validation", "--strategies", "random")
    assert abs(found[EXCESS]["random"]["2"]) < 0.1
    assert "D can tell little here: real sequences are" in caplog.text


def test_mauve_is_measured_by_the_states_of_any_model(model_dir, data_dir, tmp_path, monkeypatch):
    seen = []

    def compute_mauve(p_features, q_features, **kwargs):
        seen.append((p_features.shape, q_features.shape))
        return types.SimpleNamespace(mauve=float(np.isfinite(p_features).all()))

    library = types.ModuleType("mauve")
    library.__spec__, library.compute_mauve = importlib.util.spec_from_loader("mauve", None), compute_mauve
    monkeypatch.setitem(sys.modules, "mauve", library)
    metrics = run(model_dir, data_dir, tmp_path, "--strategies", "random", "--mauve", model_dir)
    assert metrics["mauve"]["random"] == {"2": 1.0, "4": 1.0} and metrics["real_text"]["mauve"] == 1.0
    assert set(seen) == {((6, 16), (6, 16))}
    for few in (("--num_samples", 1), ("--tune", "--tuning_samples", 1)):
        with one_sentence(f"`{few[-2].removeprefix('--')}`", "at least 2", "got 1"):
            run(model_dir, data_dir, tmp_path / "new", "--strategies", "random", "--mauve", model_dir, *few)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "config",
    [
        RobertaConfig(**TINY, max_position_embeddings=20),  # two of them stand before the first token
        T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2),
        GPT2Config(vocab_size=40, n_positions=18, n_embd=16, n_layer=1, n_head=2),
    ],
    ids=lambda config: config.model_type,
)
def test_mauve_reads_texts_of_any_length_by_any_kind_of_model(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mauve", types.ModuleType("mauve"))
    sys.modules["mauve"].__spec__ = importlib.util.spec_from_loader("mauve", None)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    framed_tokenizer().save_pretrained(tmp_path)
    states = Mauve(str(tmp_path)).states(["w1", " ".join(WORDS), ""])
    assert states.shape == (3, 16) and np.isfinite(states).all()


def test_what_cannot_be_measured_is_refused_before_the_work(model_dir, data_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mauve", None)
    with one_sentence("mauve-text", "pip install critic_gpt[mauve]", "--mauve", error=ImportError):
        run(model_dir, data_dir, tmp_path, "--mauve", "gpt2")
    for more, parts in (
        (("--tune", "--tuned_by", "beauty"), ("`tuned_by`", EXCESS, "'beauty'")),
        (("--tune", "--tuned_by", "fcd"), ("`tuned_by`", EXCESS, "'fcd'", "pip install critic_gpt[molecules]")),
        (("--tune", "--tuned_by", "mauve"), ("`tuned_by`", "'mauve'", "--mauve MODEL")),
        (("--tuned_by", EXCESS), ("`tuned_by` needs `tune`",)),
        (("--tune", "--tuning_temperatures", "-1"), ("`tuning_temperatures`", "-1")),
        (("--tune", "--tuning_temperatures", "nan"), ("`tuning_temperatures`", "nan")),
        (("--strategies", "critic_both"), ("`strategies`", "critic_many", "'critic_both'")),
    ):
        with one_sentence(*parts):
            run(model_dir, data_dir, tmp_path, *more)


def test_training_writes_how_many_answers_are_right(data_dir, own_dir, tmp_path):
    (tmp_path / "all.smi").write_text("".join(f"{'C' * n}O\n" for n in range(1, 20)))
    flags = ["--source", str(tmp_path / "all.smi"), "--sequence_length", "24", "--validation_share", "0.2"]
    for folder, notation in (("molecules", "smiles"), ("always-valid", "selfies")):
        more = ["--test_share", "0.2", "--notation", notation, "--output_dir", str(tmp_path / folder)]
        prepare_data.main(["--task", "smiles", *flags, *more])

    def written(data, *more):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        small = ["--hidden_size", "16", "--num_hidden_layers", "1", "--num_attention_heads", "2", "--max_steps", "1"]
        cpu = ["--use_cpu", "True", "--disable_tqdm", "True", "--eval_strategy", "no"]
        train.main(["--data_dir", str(data), "--output_dir", str(folder), *small, *cpu, *more])
        config = CriticGPTForMaskedLM.from_pretrained(folder).generation_config.to_dict()
        names = ("answers", "remask_exponent", "remask_per_step", "temperature", "temperature_end")
        return {name: config[name] for name in names if config.get(name)}

    assert written(own_dir) == {"answers": "many"} and TextTask.answers == "many" and SudokuTask.answers == "one"
    assert written(data_dir, "--answers", "one") == {"answers": "one"}
    assert generation_for(data_dir) == {"answers": "many"}
    # What was measured to be better for molecules goes with its family.
    molecules = {"answers": "many", "remask_per_step": 4}
    mild = {"remask_exponent": 6.0, "temperature": 0.8, "temperature_end": 0.8}
    assert written(tmp_path / "molecules") == {**molecules, **mild}
    assert written(tmp_path / "molecules", "--answers", "one") == {"answers": "one"}
    warm = {"remask_exponent": 2.0, "temperature": 1.0, "temperature_end": 1.0}
    assert written(tmp_path / "always-valid") == {**molecules, **warm}
    with one_sentence("`answers`", "one or many", "'two'"):
        written(data_dir, "--answers", "two")
