# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/calibrate.py`."""

import json
import re
import sys

import datasets
import pytest
import torch
from calibrated_folder import corrupted_rows, save_model, save_rows
from launching import launch
from payload import Payload
from prepared_folders import prepare_sudoku
from sentences import one_sentence

from critic_gpt import (
    CriticCalibration,
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    DataCollatorForMaskedDiffusion,
)
from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.calibration.model import sampler_settings
from critic_gpt.evaluation import FINAL_STEP, cross_fitted_report, judge_trajectories, report_by_step
from critic_gpt.scripts import calibrate
from critic_gpt.tasks import load_prepared


METADATA = {
    *("method", "counts", "positives", "positive_rate", "source", "task", "split", "num_sequences", "seed", "scope"),
    *("fill", "regime", "fingerprint", "fingerprints_float16", "critic_gpt_version", "quality", "dataset"),
    *("corrupted_by", "fill_exponent", "temperature", "top_k", "top_p"),
}


ALONG = ("--source", "trajectory")
# The flags of either source.
SOURCES = [(), (*ALONG, "--num_steps", "4")]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return prepare_sudoku(tmp_path_factory.mktemp("prepared") / "sudoku", splits=(220, 20, 8))


@pytest.fixture
def model_dir(tmp_path):
    return save_model(tmp_path / "model")


def run(data_dir, model_dir, num, *more):
    """By one method and whatever table is there: tests/scripts/test_calibrate_choice.py has the choices."""
    fixed = ["--method", "nearest", "--overwrite"]
    number = [] if num is None else [str(num)]
    return calibrate.main([str(data_dir), str(model_dir), *number, *fixed, *map(str, more)])


def entry(model_dir, key="model.safetensors"):
    document = json.loads((model_dir / "calibration.json").read_text())
    assert set(document) == {key, "__metadata__"}
    return document[key], document["__metadata__"]["entries"][key]


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(data_dir, model_dir, num, *more, parts):
    with one_sentence("must", "got", *parts):
        run(data_dir, model_dir, num, *more)


# ---- what it writes ----


def test_the_table_lies_beside_the_weights_and_is_loaded_with_them(data_dir, model_dir):
    before = contents(model_dir)
    calibration = run(data_dir, model_dir, 30)
    assert contents(model_dir) == sorted([*before, "calibration.json"])
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    assert model.calibration == calibration and not calibration.is_ramp
    assert calibration.metadata["fingerprint"] == model.fingerprint()
    assert entry(model_dir)[0] == list(calibration.probabilities)


def test_without_a_number_the_whole_split_is_judged_and_of_a_long_one_1024(data_dir, model_dir, tmp_path):
    for source in SOURCES:
        assert run(data_dir, model_dir, None, "--split", "test", *source).metadata["num_sequences"] == 8
    many = save_rows(tmp_path / "many", input_ids=[[2, 3, 4, 5]] * 1030)
    assert run(many, model_dir, None).metadata["num_sequences"] == 1024
    with one_sentence("`split`", "at least 2 sequences", "got 'train' with 1", "choose another"):
        run(save_rows(tmp_path / "one", input_ids=[[2, 3, 4, 5]]), model_dir, None)


def test_measuring_along_generations_is_not_told_to_measure_along_generations(data_dir, model_dir, caplog):
    run(data_dir, model_dir, 20)
    run(data_dir, model_dir, 20, *ALONG, "--num_steps", 4, "--temperature", 0.5)
    assert "Calibrate again" not in caplog.text


def test_the_metadata_is_frozen(data_dir, model_dir):
    metadata = run(data_dir, model_dir, 30, "--seed", 5).metadata
    assert set(metadata) == METADATA
    settings = {"source": "one_shot", "task": "sudoku", "split": "train", "num_sequences": 30, "seed": 5}
    settings |= {"method": "nearest", "scope": "masked_only", "fill": "multinomial", "regime": "mixed"}
    settings |= {"temperature": 1.0, "top_k": None, "top_p": None}
    assert {name: metadata[name] for name in settings} == settings
    assert set(metadata["quality"]) == {"before", "after", "positions", "positive_rate", "sequences", "method"}
    assert sum(metadata["counts"]) == metadata["quality"]["positions"]
    assert str(model_dir) not in json.dumps(metadata) and str(data_dir) not in json.dumps(metadata)


def test_flags_reach_the_measurement(data_dir, model_dir):
    plain = run(data_dir, model_dir, 30).metadata
    everywhere = run(data_dir, model_dir, 30, "--scope", "all", "--regime", "full", "--method", "isotonic")
    metadata = everywhere.metadata
    assert (metadata["scope"], metadata["regime"], metadata["method"]) == ("all", "full", "isotonic")
    assert sum(metadata["counts"]) == 30 * 16 > sum(plain["counts"])
    assert list(everywhere.probabilities) == sorted(everywhere.probabilities)
    # The model's own configuration stays as it was.
    assert CriticGPTForMaskedLM.from_pretrained(model_dir).config.critic_target_scope == "masked_only"


@pytest.mark.parametrize("corrupted", [False, True])
def test_the_share_of_masks_is_the_model_s_own(data_dir, model_dir, tmp_path, corrupted):
    if corrupted:
        data_dir = save_rows(tmp_path / "letters")
    half = run(data_dir, model_dir, 30, "--regime", "partial")
    few = run(data_dir, save_model(tmp_path / "few", critic_fill_exponent=4.0), 30, "--regime", "partial")
    assert sum(few.metadata["counts"]) < 0.7 * sum(half.metadata["counts"])
    assert (half.metadata["fill_exponent"], few.metadata["fill_exponent"]) == (1.0, 4.0)


@pytest.mark.parametrize("source", SOURCES, ids=["one_shot", "trajectory"])
def test_the_batch_size_changes_no_count(data_dir, model_dir, source):
    tables = [run(data_dir, model_dir, 30, "--batch_size", size, *source) for size in (1, 7, 64)]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("source", SOURCES, ids=["one_shot", "trajectory"])
def test_the_file_of_weights_means_its_folder_and_a_variant_has_a_table_of_its_own(data_dir, model_dir, source):
    expected = run(data_dir, model_dir, 12, *source)
    assert run(data_dir, model_dir / "model.safetensors", 12, *source) == expected
    CriticGPTForMaskedLM.from_pretrained(model_dir).save_pretrained(model_dir, variant="fp16")
    (model_dir / "calibration.json").unlink()
    table = run(data_dir, model_dir / "model.fp16.safetensors", 12, *source)
    plain, variant = (CriticGPTForMaskedLM.from_pretrained(model_dir, variant=name) for name in (None, "fp16"))
    name = "trajectory_calibration" if source else "calibration"
    assert getattr(plain, name) is None and getattr(variant, name) == table


def test_calibrating_again_replaces_the_table_of_whatever_weights_and_keeps_others(data_dir, model_dir):
    CriticCalibration.ramp().with_metadata(fingerprint="0" * 64).save(model_dir)
    CriticCalibration.ramp().save(model_dir, key="model.safetensors@trajectory")
    first, second = run(data_dir, model_dir, 20), run(data_dir, model_dir, 20, "--seed", 1)
    assert first != second == CriticGPTForMaskedLM.from_pretrained(model_dir).calibration
    assert CriticCalibration.load(model_dir, key="model.safetensors@trajectory").is_ramp


def test_a_plot_is_a_picture(data_dir, model_dir, tmp_path):
    run(data_dir, model_dir, 20, "--plot", tmp_path / "plots" / "reliability.png")
    assert (tmp_path / "plots" / "reliability.png").read_bytes().startswith(b"\x89PNG")


# ---- along trajectories ----


def trajectory(data_dir, model_dir, num, *more):
    steps = () if "--num_steps" in more else ("--num_steps", 4)
    return run(data_dir, model_dir, num, "--source", "trajectory", *steps, *more)


def test_both_tables_lie_in_one_file_and_are_loaded_with_the_weights(data_dir, model_dir):
    one_shot, along = run(data_dir, model_dir, 30), trajectory(data_dir, model_dir, 30)
    document = json.loads((model_dir / "calibration.json").read_text())
    assert set(document) == {"model.safetensors", "model.safetensors@trajectory", "__metadata__"}
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    assert model.calibration == one_shot and model.trajectory_calibration == along != one_shot
    assert model.calibration_for(model.resolve_generation_config(num_steps=4)) is model.trajectory_calibration
    # Made again, each leaves the other alone.
    assert run(data_dir, model_dir, 30) == one_shot
    assert CriticCalibration.load(model_dir, key="model.safetensors@trajectory") == along


# Flags, and what they mean for the judged trajectories.
FLAGS = ("--remasking", "critic_full", "--num_steps", 5, "--temperature", 0.5, "--mask_rate", 0.5)
MORE = ("--generation", "schedule=cosine", "top_k=3")
SAMPLED = {"remasking": "critic_full", "num_steps": 5, "temperature": 0.5, "schedule": "cosine", "top_k": 3}


@pytest.mark.parametrize("flags", ["none", "all", "the model's own"])
def test_a_table_of_trajectories_is_the_one_of_the_judged_steps(data_dir, model_dir, flags):
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    given, settings = ("--num_steps", 4), {"num_steps": 4}
    if flags == "all":
        given, settings = (*FLAGS, *MORE), {**SAMPLED, "mask_rate": 0.5}
    if flags == "the model's own":  # where no flag says otherwise
        model.generation_config.update(num_steps=3, remasking="none", max_new_tokens=5)
        model.save_pretrained(model_dir)
        given, settings = ("--temperature", 0.5), {"num_steps": 3, "remasking": "none", "temperature": 0.5}
    along = run(data_dir, model_dir, 24, *ALONG, "--split", "train", "--seed", 3, "--method", "isotonic", *given)
    dataset, tokenizer, _ = load_prepared(data_dir)
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=None, seed=3)
    judged = judge_trajectories(model, dataset["train"], collator, 24, seed=3, **settings)
    assert along.probabilities == judged.histogram.fit("isotonic").probabilities
    metadata = along.metadata
    quality = metadata["quality"]
    assert quality.pop("final") == report_by_step(judged, method="isotonic")[FINAL_STEP]
    assert quality == cross_fitted_report(*judged[:3], method="isotonic")
    # They hold what those of one shot do, and the whole sampler, as it was resolved where nobody set it.
    sampler = sampler_settings(model.resolve_generation_config())
    assert set(metadata) == METADATA | set(sampler) | {"mask_rate", "guided_by"}
    expected = {"mask_rate": None, **settings, "source": "trajectory", "scope": "generated"}
    assert {name: metadata[name] for name in expected} == expected
    if flags == "all":
        assert (metadata["start_ratio"], metadata["remask_selection"], metadata["top_p"]) == (0.95, "worst", None)


def test_trajectories_are_guided_by_the_table_of_one_shot_and_never_by_an_earlier_run(data_dir, model_dir):
    threshold = ("--generation", "error_threshold=0.3")
    by_ramp = trajectory(data_dir, model_dir, 20, *threshold)
    assert by_ramp.metadata["guided_by"] == "ramp"
    assert trajectory(data_dir, model_dir, 20, *threshold) == by_ramp
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    model.calibration = CriticCalibration([0.0] * 100, {"fingerprint": model.fingerprint()})
    model.save_pretrained(model_dir)
    by_table = trajectory(data_dir, model_dir, 20, *threshold)
    assert by_table.metadata["guided_by"] == "one_shot" and by_table.metadata["counts"] != by_ramp.metadata["counts"]


def test_rows_that_are_corrupted_already_are_generated_in_their_own_holes(model_dir, tmp_path):
    folder = save_rows(tmp_path / "letters")
    # In a single step only the finished sequence shows a generated token.
    metadata = trajectory(folder, model_dir, 30, "--num_steps", 1).metadata
    assert metadata["corrupted_by"] == "dataset"
    assert sum(metadata["counts"]) == sum(value != -100 for row in corrupted_rows()[1][:30] for value in row)
    refused(folder, model_dir, 30, *ALONG, "--mask_rate", 0.5, parts=("`mask_rate`", "corrupted already"))


# ---- which data ----


def test_the_data_may_be_named_and_a_config_may_name_them(data_dir, model_dir, tmp_path, monkeypatch):
    expected = run(data_dir, model_dir, 12)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sudoku").symlink_to(data_dir)
    (tmp_path / "train.py").write_text('raise SystemExit("was run")\ndataset = "sudoku"\n')
    monkeypatch.chdir(tmp_path)
    assert run("sudoku", model_dir, 12) == run("train.py", model_dir, 12) == expected


@pytest.mark.parametrize("names", [("input_ids", "labels"), ("input", "target"), ("x", "y")])
def test_rows_that_are_corrupted_already_are_filled_as_they_are(model_dir, tmp_path, names):
    tokens, truth = corrupted_rows()
    folder = save_rows(tmp_path / "letters", **{names[0]: tokens, names[1]: truth})
    metadata = run(folder, model_dir, 30, "--regime", "full").metadata
    assert metadata["corrupted_by"] == "dataset" and (metadata["dataset"], metadata["task"]) == ("letters", None)
    assert sum(metadata["counts"]) == sum(value != -100 for row in truth[:30] for value in row)
    # What is visible and unsupervised counts as right.
    everywhere = run(folder, model_dir, 30, "--regime", "full", "--scope", "masked_and_ignore").metadata
    assert sum(everywhere["counts"]) == 30 * 16 and everywhere["positives"] != everywhere["counts"]
    assert sum(everywhere["positives"]) == sum(metadata["positives"])
    # A mask of the data that hides the tokens to judge changes no number.
    hiding = [[int(token != 1) for token in row] for row in tokens]
    hidden = save_rows(tmp_path / "hiding", **{names[0]: tokens, names[1]: truth, "attention_mask": hiding})
    assert run(hidden, model_dir, 30, "--regime", "full").metadata["counts"] == metadata["counts"]


def test_clean_rows_without_a_tokenizer_are_masked_as_prepared_ones_are(data_dir, model_dir, tmp_path):
    prepared = run(data_dir, model_dir, 20, "--split", "val")
    assert prepared == run(data_dir, model_dir, 20, "--split", "validation")
    assert prepared.metadata["split"] == "validation"
    assert prepared.metadata["counts"] != run(data_dir, model_dir, 20).metadata["counts"]
    rows = datasets.load_from_disk(str(data_dir))["validation"]
    datasets.DatasetDict({"val": rows}).save_to_disk(str(tmp_path / "letters"))
    plain = run(tmp_path / "letters", model_dir, 20, "--split", "val")
    assert plain.probabilities == prepared.probabilities and plain.metadata["counts"] == prepared.metadata["counts"]
    assert (plain.metadata["corrupted_by"], plain.metadata["task"]) == ("collator", None)


# ---- which weights ----


def test_the_index_of_shards_or_a_shard_means_all_of_them(data_dir, model_dir, tmp_path):
    expected = run(data_dir, model_dir, 12)
    folder = tmp_path / "sharded"
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    model.calibration = None
    model.save_pretrained(folder, max_shard_size="10KB")
    (shard, *others) = sorted(folder.glob("model-*.safetensors"))
    for path in (folder / "model.safetensors.index.json", shard):
        (folder / "calibration.json").unlink(missing_ok=True)
        assert others and run(data_dir, path, 12) == expected
        assert CriticGPTForMaskedLM.from_pretrained(folder).calibration == expected
    (folder / "model.safetensors").write_bytes((model_dir / "model.safetensors").read_bytes())
    refused(data_dir, shard, 12, parts=("`checkpoint`", "beside model.safetensors", "remove"))


@pytest.mark.parametrize("name", ["ckpt.pt", "latest.pth", "pytorch_model.bin"])
def test_formats_that_can_carry_code_are_refused_unopened(data_dir, tmp_path, name):
    torch.save(Payload(tmp_path / "was-run"), tmp_path / name)
    for path in (tmp_path / name, tmp_path / "missing" / name):
        refused(data_dir, path, 12, parts=("`checkpoint`", name, "scripts/convert_nanogpt_checkpoint.py"))
    assert not (tmp_path / "was-run").exists()


def test_the_folder_of_a_training_points_to_its_checkpoints(data_dir, tmp_path):
    for step in (20, 40):
        save_model(tmp_path / "run" / f"checkpoint-{step}")
    refused(data_dir, tmp_path / "run", 12, parts=("`checkpoint`", "checkpoint-20, checkpoint-40", "one of these"))
    assert run(data_dir, tmp_path / "run" / "checkpoint-40", 12).metadata["num_sequences"] == 12


# ---- what it prints ----


@pytest.mark.parametrize(("batch_size", "source"), [(7, SOURCES[0]), (500, SOURCES[0]), (64, SOURCES[1])])
def test_verbose_prints_a_hundred_lines_every_hundred_sequences_and_the_saved_table(
    data_dir, model_dir, capsys, batch_size, source
):
    calibration = run(data_dir, model_dir, 220, "--verbose", "--batch_size", batch_size, *source)
    lines = capsys.readouterr().out.splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith(("after ", "the table as saved"))]
    assert [lines[i].split(" sequences")[0] for i in heads[:-1]] == ["after 100", "after 200", "after 220"]
    buckets = [i for i, line in enumerate(lines) if line.startswith("bucket ")]
    assert buckets == [i + j for i in heads for j in range(1, 101)]
    pattern = r"bucket +(\d+) +count +(\d+) +target1 +(\d+) +probability (\S+) +saved (\S+)"
    rows = [re.fullmatch(pattern, line).groups() for line in lines[heads[-1] + 1 : heads[-1] + 101]]
    table, metadata = entry(model_dir, "model.safetensors@trajectory" if source else "model.safetensors")
    assert table == list(calibration.probabilities)
    assert [int(row[1]) for row in rows] == metadata["counts"]
    assert [int(row[2]) for row in rows] == metadata["positives"]
    assert [row[4] for row in rows] == [f"{value:.6f}" for value in table]
    # Where something was counted, both columns say the same.
    assert all(row[3] == row[4] for row in rows if row[1] != "0")


def test_closing_rates_that_differ_stop_it_before_anything_is_saved(data_dir, model_dir, monkeypatch):
    inner = calibrate.judge_fillings

    def miscounted(*args, **kwargs):
        judged = inner(*args, **kwargs)
        counts, positives = judged.histogram.counts, judged.histogram.positives
        positives[positives.argmax()] -= 1
        return judged._replace(histogram=CriticHistogram(counts, positives))

    monkeypatch.setattr(calibrate, "judge_fillings", miscounted)
    with pytest.raises(RuntimeError, match=r"by positions and .* by the buckets.* no table is saved"):
        run(data_dir, model_dir, 20)
    assert "calibration.json" not in contents(model_dir)


def test_a_bar_is_shown_at_a_terminal_only(data_dir, model_dir, capsys, monkeypatch):
    run(data_dir, model_dir, 20, "--verbose")
    captured = capsys.readouterr()
    assert "sequences" not in captured.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(data_dir, model_dir, 20, "--verbose")
    at_terminal = capsys.readouterr()
    assert "20/20" in at_terminal.err and "sequences" in at_terminal.err
    assert at_terminal.out == captured.out


def test_quiet_it_prints_a_few_lines_of_which_the_second_says_which_table_it_is(data_dir, model_dir, capsys):
    metadata = run(data_dir, model_dir, 20).metadata
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert len(lines) == 5 and lines[1] == "Table model.safetensors: masks filled at once, temperature=1.0."
    rates = re.findall(r"(?:Share of wrong tokens|The same by the buckets): +(\d\.\d{6})", out)
    assert rates == [f"{metadata['positive_rate']:.6f}"] * 2
    trajectory(data_dir, model_dir, 20, "--mask_rate", 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[1].startswith("Table model.safetensors@trajectory: generations with ")
    pattern = r"Of finished sequences: +ECE [01]\.\d{4}, 0\.\d{6} of the tokens .* wrong, 0\.\d{6} are"
    assert re.fullmatch(pattern, lines[5])
    assert "remasking=critic" in lines[1] and "num_steps=4" in lines[1] and lines[1].endswith(", at mask_rate=0.5.")
    assert "None" not in lines[1]


def test_a_critic_that_only_met_wrong_tokens_has_no_auroc_and_a_table_all_the_same(
    data_dir, model_dir, capsys, monkeypatch
):
    inner = calibrate.judge_fillings

    def all_wrong(*args, **kwargs):
        judged = inner(*args, **kwargs)
        judged.critic_target[:] = 1.0
        return judged._replace(histogram=CriticHistogram(judged.histogram.counts, judged.histogram.counts))

    monkeypatch.setattr(calibrate, "judge_fillings", all_wrong)
    assert run(data_dir, model_dir, 20).metadata["quality"]["after"]["auroc"] is None
    assert "AUROC none" in capsys.readouterr().out


# ---- what it refuses ----


@pytest.mark.parametrize(
    ("num", "more", "parts"),
    [
        (0, (), ("`num_sequences`", "got 0")),
        (1, (), ("`num_sequences`", "at least 2", "got 1")),
        (221, (), ("`num_sequences`", "the 220 sequences", "got 221")),
        (9, ("--split", "test"), ("`num_sequences`", "the 8 sequences", "got 9")),
        (5, ("--batch_size", 0), ("`batch_size`", "got 0")),
        (5, ("--plot", "picture.txt"), ("`plot`", "picture.txt")),
        (5, ("--num_steps", 9), ("`num_steps`", "left out", "got 9", "`--source trajectory`")),
        (5, ("--temperature", 0), ("`temperature`", "left out", "got 0.0")),
        (5, ("--generation", "top_k=1"), ("`generation`", "left out", "top_k=1")),
        (5, ("--mask_rate", 0.5), ("`mask_rate`", "left out", "got 0.5")),
        (5, (*ALONG, "--scope", "all"), ("`scope`", "left out", "'all'", "`--source one_shot`")),
        (5, (*ALONG, "--regime", "full"), ("`regime`", "left out", "'full'")),
        (5, (*ALONG, "--mask_rate", 2), ("`mask_rate`", "(0, 1]", "got 2.0")),
        (5, (*ALONG, "--num_steps", 0), ("`num_steps`", "at least 1", "got 0")),
        (5, (*ALONG, "--remasking", "best"), ("`remasking`", "one of", "got 'best'")),
        (5, (*ALONG, "--generation", "top_k"), ("`generation`", "KEY=VALUE", "'top_k'")),
        (5, (*ALONG, "--generation", "top_k=null"), ("`top_k`", "value", "got null")),
        (5, (*ALONG, "--generation", "top_k=many"), ("`top_k`", "whole number", "got 'many'")),
        (5, (*ALONG, "--generation", "top_k=1", "top_k=2"), ("`top_k`", "once", "got 1 and '2'")),
        (5, (*ALONG, "--num_steps", 4, "--generation", "num_steps=5"), ("`num_steps`", "once", "got 4 and '5'")),
        (5, (*ALONG, "--generation", "return_history=true"), ("`return_history`", "got True")),
        (5, (*ALONG, "--generation", "remask_per_stp=3"), ("`remask_per_stp`", "did you mean `remask_per_step`")),
    ],
)
def test_wrong_flags_are_one_sentence_and_write_nothing(data_dir, model_dir, num, more, parts):
    before = contents(model_dir)
    with one_sentence("got", *parts):
        run(data_dir, model_dir, num, *more)
    assert contents(model_dir) == before


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"critic": False}, ("critic head", "--add_critic_head True")),
        ({"trained": False}, ("trained critic", "zeros")),
        ({"mask_token_id": None}, ("mask token", "`mask_token_id`")),
        ({"vocab_size": 5}, ("6 tokens", "[MASK] 1")),
        ({"mask_token_id": 2}, ("6 tokens", "[MASK] 1")),
        ({"max_position_embeddings": 15}, ("16 tokens", "15")),
    ],
)
def test_a_model_that_there_is_nothing_to_measure_of_is_refused(data_dir, tmp_path, fields, parts):
    folder = save_model(tmp_path / "model", **fields)
    refused(data_dir, folder, 20, parts=("`checkpoint`", *parts))
    assert "calibration.json" not in contents(folder)


def test_a_model_with_another_head_or_of_somebody_else_is_refused(data_dir, model_dir, tmp_path):
    for kind in (CriticGPTForTokenClassification, CriticGPTForSequenceClassification):
        kind(CriticGPTConfig.from_pretrained(model_dir, num_labels=1)).save_pretrained(tmp_path / "other")
        refused(data_dir, tmp_path / "other", 20, parts=("`checkpoint`", kind.__name__, "scripts/train.py"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}))
    refused(data_dir, tmp_path, 20, parts=("`checkpoint`", "must be a model with a critic"))


def test_data_that_say_nothing_of_a_critic_are_refused(model_dir, tmp_path):
    tokens, truth = [[2, 3, 4]] * 4, corrupted_rows(4)
    for name, labels in {"score": [0.5] * 4, "label": [1] * 4, "labels": [[0, 1, 1]] * 4}.items():
        folder = save_rows(tmp_path / name, input_ids=tokens, **{name: labels})
        refused(folder, model_dir, 4, parts=("`dataset`", "the language model"))
    truth[1][1:] = [[-100] * 16] * 3
    folder = save_rows(tmp_path / "letters", x=truth[0], y=truth[1])
    refused(folder, model_dir, 4, parts=("`num_sequences`", "got 4 of which 1 have any"))
    assert "calibration.json" not in contents(model_dir)


def test_missing_folders_are_named(data_dir, model_dir, tmp_path):
    refused(data_dir, tmp_path / "nowhere", 20, parts=("`checkpoint`", "nowhere"))
    (tmp_path / "empty").mkdir()
    refused(data_dir, tmp_path / "empty", 20, parts=("`checkpoint`", "empty", "did not load"))
    refused(data_dir, tmp_path / "empty" / "model.safetensors", 20, parts=("`checkpoint`", "model.safetensors"))
    refused(tmp_path / "nowhere", model_dir, 20, parts=("`dataset`", "nowhere", "no data", "prepare_data.py"))
    refused("nobody/nothing", model_dir, 20, parts=("`dataset`", "nobody/nothing", "did not load"))
    assert contents(tmp_path / "empty") == []


def test_damaged_files_are_refused_and_left_untouched(data_dir, model_dir):
    table, weights = model_dir / "calibration.json", model_dir / "model.safetensors"
    table.write_text('{"model.safetensors": [0.5')
    refused(data_dir, model_dir, 20, parts=("calibration.json", "move it away"))
    assert table.read_text() == '{"model.safetensors": [0.5'
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(data_dir, model_dir, 20, parts=("`checkpoint`", "did not load"))


def test_an_interruption_leaves_the_old_table_and_nothing_half_written(data_dir, model_dir, monkeypatch):
    run(data_dir, model_dir, 20)
    before, names = (model_dir / "calibration.json").read_bytes(), contents(model_dir)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    for target in ("critic_gpt.scripts.calibrate.cross_fitted_report", "os.fsync", "os.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(target, stop)
            with pytest.raises(KeyboardInterrupt):
                run(data_dir, model_dir, 20, "--seed", 1)
        assert (model_dir / "calibration.json").read_bytes() == before
        assert contents(model_dir) == names


# ---- as a program ----


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=["one_shot", "trajectory"])
def test_two_processes_count_and_write_the_same_as_one(data_dir, model_dir, source, tmp_path):
    alone = run(data_dir, model_dir, 45, "--batch_size", 10, *source)
    (model_dir / "calibration.json").unlink()
    more = ["--batch_size", 10, "--verbose", "--method", "nearest", *source]
    printed, _ = launch(["-m", "critic_gpt.scripts.calibrate", data_dir, model_dir, 45, *more], 2, tmp_path)
    together = CriticCalibration.load(model_dir, "model.safetensors@trajectory" if source else "model.safetensors")
    assert together.probabilities == alone.probabilities
    assert together.metadata["counts"] == alone.metadata["counts"]
    assert together.metadata["positives"] == alone.metadata["positives"]
    assert "by 2 processes." in printed and printed.count("Share of wrong tokens") == 1
    assert printed.count("the table as saved") == 1
