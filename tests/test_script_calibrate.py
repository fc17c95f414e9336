# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/calibrate.py`."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest
import torch

from critic_gpt import CriticCalibration, CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.scripts import calibrate, prepare_data


METADATA = {
    *("method", "counts", "positives", "positive_rate", "source", "task", "split", "num_sequences", "seed", "scope"),
    *("fill", "regime", "fingerprint", "critic_gpt_version", "quality"),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "sudoku"
    sizes = ["--num_train", "220", "--num_validation", "20", "--num_test", "8"]
    prepare_data.main(["--task", "sudoku", "--size", "4", "--output_dir", str(folder), *sizes])
    return folder


def save_model(folder, critic=True, trained=True, **fields):
    """In float64: the counts of two batch sizes differ in no rounding."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
    special = {"vocab_size": 6, "max_position_embeddings": 16, "pad_token_id": 0, "mask_token_id": 1}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**{**shape, **special, "add_critic_head": critic, **fields}))
    if critic and trained:
        torch.nn.init.normal_(model.critic_head.weight)
    model.double().save_pretrained(folder)
    return folder


@pytest.fixture
def model_dir(tmp_path):
    return save_model(tmp_path / "model")


def run(data_dir, model_dir, num, *more):
    return calibrate.main([str(data_dir), str(model_dir), str(num), *map(str, more)])


def entry(model_dir):
    document = json.loads((model_dir / "calibration.json").read_text())
    assert set(document) == {"model.safetensors", "__metadata__"}
    return document["model.safetensors"], document["__metadata__"]["entries"]["model.safetensors"]


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- what it writes ----


def test_the_table_lies_beside_the_weights_and_is_loaded_with_them(data_dir, model_dir):
    before = contents(model_dir)
    calibration = run(data_dir, model_dir, 30)
    assert contents(model_dir) == sorted([*before, "calibration.json"])
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    assert model.calibration == calibration and not calibration.is_ramp
    assert calibration.metadata["fingerprint"] == model.fingerprint()
    assert entry(model_dir)[0] == list(calibration.probabilities)


def test_the_metadata_is_frozen(data_dir, model_dir):
    metadata = run(data_dir, model_dir, 30, "--seed", 5).metadata
    assert set(metadata) == METADATA
    settings = {name: metadata[name] for name in ("source", "task", "split", "num_sequences", "seed", "method")}
    assert settings == {
        "source": "one_shot",
        "task": "sudoku",
        "split": "train",
        "num_sequences": 30,
        "seed": 5,
        "method": "nearest",
    }
    assert (metadata["scope"], metadata["fill"], metadata["regime"]) == ("masked_only", "multinomial", "mixed")
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


def test_val_means_validation(data_dir, model_dir):
    short, long = run(data_dir, model_dir, 12, "--split", "val"), run(data_dir, model_dir, 12, "--split", "validation")
    assert short == long and long.metadata["split"] == "validation"
    assert run(data_dir, model_dir, 12).metadata["counts"] != long.metadata["counts"]


def test_the_batch_size_changes_no_count(data_dir, model_dir):
    tables = [run(data_dir, model_dir, 30, "--batch_size", size) for size in (1, 7, 64)]
    assert tables[0] == tables[1] == tables[2]


def test_calibrating_again_replaces_the_table_and_keeps_others(data_dir, model_dir):
    CriticCalibration.ramp().save(model_dir, key="model.safetensors@trajectory")
    first, second = run(data_dir, model_dir, 20), run(data_dir, model_dir, 20, "--seed", 1)
    assert first != second == CriticCalibration.load(model_dir)
    assert CriticCalibration.load(model_dir, key="model.safetensors@trajectory").is_ramp


def test_a_table_of_other_weights_is_replaced(data_dir, model_dir):
    CriticCalibration.ramp().with_metadata(fingerprint="0" * 64).save(model_dir)
    assert run(data_dir, model_dir, 20) == CriticGPTForMaskedLM.from_pretrained(model_dir).calibration


def test_a_plot_is_a_picture(data_dir, model_dir, tmp_path):
    run(data_dir, model_dir, 20, "--plot", tmp_path / "plots" / "reliability.png")
    assert (tmp_path / "plots" / "reliability.png").read_bytes().startswith(b"\x89PNG")


# ---- what it prints ----


def test_both_closing_rates_are_printed_and_equal(data_dir, model_dir, capsys):
    metadata = run(data_dir, model_dir, 25).metadata
    rates = re.findall(r"(?:Share of wrong tokens|The same by the buckets): +(\d\.\d{6})", capsys.readouterr().out)
    assert rates == [f"{metadata['positive_rate']:.6f}"] * 2


@pytest.mark.parametrize("batch_size", [64, 7, 500])
def test_verbose_prints_a_hundred_lines_every_hundred_sequences_and_the_saved_table(
    data_dir, model_dir, capsys, batch_size
):
    calibration = run(data_dir, model_dir, 220, "--verbose", "--batch_size", batch_size)
    lines = capsys.readouterr().out.splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith(("after ", "the table as saved"))]
    assert [lines[i].split(" sequences")[0] for i in heads[:-1]] == ["after 100", "after 200", "after 220"]
    buckets = [i for i, line in enumerate(lines) if line.startswith("bucket ")]
    assert buckets == [i + j for i in heads for j in range(1, 101)]
    pattern = r"bucket +(\d+) +count +(\d+) +target1 +(\d+) +probability (\S+) +saved (\S+)"
    rows = [re.fullmatch(pattern, line).groups() for line in lines[heads[-1] + 1 : heads[-1] + 101]]
    table, metadata = entry(model_dir)
    assert table == list(calibration.probabilities)
    assert [int(row[1]) for row in rows] == metadata["counts"]
    assert [int(row[2]) for row in rows] == metadata["positives"]
    assert [row[4] for row in rows] == [f"{value:.6f}" for value in table]
    # Where something was counted, both columns say the same.
    assert all(row[3] == row[4] for row in rows if row[1] != "0")


def test_quiet_it_prints_four_lines(data_dir, model_dir, capsys):
    run(data_dir, model_dir, 20)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_critic_that_only_met_wrong_tokens_has_no_auroc_and_a_table_all_the_same(
    data_dir, model_dir, capsys, monkeypatch
):
    inner = calibrate.judge_fillings

    def all_wrong(*args, **kwargs):
        judged = inner(*args, **kwargs)
        judged.critic_target[:] = 1.0
        return judged

    monkeypatch.setattr(calibrate, "judge_fillings", all_wrong)
    assert run(data_dir, model_dir, 20).metadata["quality"]["after"]["auroc"] is None
    assert "AUROC none" in capsys.readouterr().out


# ---- what it refuses ----


def refused(data_dir, model_dir, num, *more, parts):
    with pytest.raises(ValueError) as error:
        run(data_dir, model_dir, num, *more)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    for part in ("must", "got", *parts):
        assert part in text, text


@pytest.mark.parametrize(
    ("num", "more", "parts"),
    [
        (0, (), ("`num_sequences`", "got 0")),
        (1, (), ("`num_sequences`", "at least 2", "got 1")),
        (221, (), ("`num_sequences`", "the 220 sequences", "got 221")),
        (9, ("--split", "test"), ("`num_sequences`", "the 8 sequences", "got 9")),
        (5, ("--batch_size", 0), ("`batch_size`", "got 0")),
        (5, ("--plot", "picture.txt"), ("`plot`", "picture.txt")),
    ],
)
def test_wrong_flags_are_one_sentence_and_write_nothing(data_dir, model_dir, num, more, parts):
    before = contents(model_dir)
    refused(data_dir, model_dir, num, *more, parts=parts)
    assert contents(model_dir) == before


def test_a_model_without_a_critic_is_refused(data_dir, tmp_path):
    folder = save_model(tmp_path / "plain", critic=False)
    refused(data_dir, folder, 20, parts=("`checkpoint`", "critic head", "--add_critic_head True"))
    assert "calibration.json" not in contents(folder)


def test_an_untrained_critic_is_refused(data_dir, tmp_path):
    folder = save_model(tmp_path / "fresh", trained=False)
    refused(data_dir, folder, 20, parts=("`checkpoint`", "trained critic", "zeros"))
    assert "calibration.json" not in contents(folder)


def test_a_model_of_other_data_is_refused(data_dir, tmp_path):
    for name, fields in (("small", {"vocab_size": 5}), ("mask", {"mask_token_id": 2})):
        refused(data_dir, save_model(tmp_path / name, **fields), 20, parts=("`checkpoint`", "6 tokens", "[MASK] 1"))
    folder = save_model(tmp_path / "short", max_position_embeddings=15)
    refused(data_dir, folder, 20, parts=("`checkpoint`", "16 tokens", "15"))


def test_missing_folders_are_named(data_dir, model_dir, tmp_path):
    refused(data_dir, tmp_path / "nowhere", 20, parts=("`checkpoint`", "nowhere"))
    (tmp_path / "empty").mkdir()
    refused(data_dir, tmp_path / "empty", 20, parts=("`checkpoint`", "empty", "did not load"))
    with pytest.raises(FileNotFoundError, match=r"`folder` must be a folder of prepared data, got .*nowhere"):
        run(tmp_path / "nowhere", model_dir, 20)
    assert contents(tmp_path / "empty") == []


def test_damaged_weights_are_refused(data_dir, model_dir):
    path = model_dir / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(data_dir, model_dir, 20, parts=("`checkpoint`", "did not load"))


def test_a_corrupt_file_is_refused_and_left_untouched(data_dir, model_dir):
    path = model_dir / "calibration.json"
    path.write_text('{"model.safetensors": [0.5')
    refused(data_dir, model_dir, 20, parts=("calibration.json", "move it away"))
    assert path.read_text() == '{"model.safetensors": [0.5'


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


def launch(command, **environment):
    one_thread = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **one_thread, **environment})


@pytest.mark.slow
def test_as_a_program_an_error_is_one_line(data_dir, model_dir, tmp_path):
    for checkpoint, num in ((model_dir, "0"), (tmp_path / "nowhere", "5")):
        command = [sys.executable, "-m", "critic_gpt.scripts.calibrate", str(data_dir), str(checkpoint), num]
        failed = launch(command)
        assert failed.returncode == 1
        assert failed.stderr.splitlines()[-1].startswith("calibrate: `") and "Traceback" not in failed.stderr


@pytest.mark.slow
def test_two_processes_count_and_write_the_same_as_one(data_dir, model_dir):
    alone = run(data_dir, model_dir, 45, "--batch_size", 10)
    (model_dir / "calibration.json").unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    accelerate += ["--main_process_port", port, "-m", "critic_gpt.scripts.calibrate"]
    arguments = [str(data_dir), str(model_dir), "45", "--batch_size", "10", "--verbose"]
    done = launch([*accelerate, *arguments], ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    together = CriticCalibration.load(model_dir)
    assert together.probabilities == alone.probabilities
    assert together.metadata["counts"] == alone.metadata["counts"]
    assert together.metadata["positives"] == alone.metadata["positives"]
    assert "by 2 processes." in done.stdout and done.stdout.count("Share of wrong tokens") == 1
    assert done.stdout.count("the table as saved") == 1
