"""Checkpoints that are whole or not there."""

from pathlib import Path

import pytest

from critic_gpt.training.checkpoints import last_complete_checkpoint, staged_folder


def checkpoint(folder, step, state='{"global_step": 1}'):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    if state is not None:
        (path / "trainer_state.json").write_text(state)
    return path


def test_the_newest_complete_checkpoint_is_found_by_number(tmp_path):
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 100)
    checkpoint(tmp_path, 20)
    assert last_complete_checkpoint(tmp_path) == str(newest)


@pytest.mark.parametrize("state", [None, "", '{"global_step": '])
def test_an_interrupted_checkpoint_is_passed_over(tmp_path, state):
    complete = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, state)
    assert last_complete_checkpoint(tmp_path) == str(complete)


def test_no_checkpoint_is_none(tmp_path):
    assert last_complete_checkpoint(tmp_path) is None
    assert last_complete_checkpoint(tmp_path / "missing") is None
    (tmp_path / "checkpoint-last").mkdir()
    assert last_complete_checkpoint(tmp_path) is None


def test_files_and_folders_are_replaced_only_at_the_end(tmp_path):
    (tmp_path / "weights").write_text("old")
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "old").write_text("old")
    with staged_folder(tmp_path) as staging:
        with open(f"{staging}/weights", "w") as file:
            file.write("new")
        (tmp_path / ".saving" / "templates").mkdir()
        assert (tmp_path / "weights").read_text() == "old"
    assert (tmp_path / "weights").read_text() == "new"
    assert (tmp_path / "kept").read_text() == "kept"
    assert list((tmp_path / "templates").iterdir()) == []
    assert not (tmp_path / ".saving").exists()


def test_an_interruption_leaves_the_old_files_and_the_next_save_cleans_up(tmp_path):
    (tmp_path / "weights").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path) as staging:
        with open(f"{staging}/weights", "w") as file:
            file.write("ne")
        raise KeyboardInterrupt
    assert (tmp_path / "weights").read_text() == "old"
    with staged_folder(tmp_path) as staging, open(f"{staging}/other", "w") as file:
        file.write("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "weights"]
    assert (tmp_path / "weights").read_text() == "old"


SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]


@pytest.mark.parametrize(
    ("old", "new"),
    [(["model.safetensors"], SHARDS), (SHARDS, ["model.safetensors"]), (["model-00001-of-00003.safetensors"], SHARDS)],
)
def test_new_weights_take_the_place_of_all_old_ones(tmp_path, old, new):
    others = ["optimizer.pt", "model.fp16.safetensors", "mymodel.safetensors", "calibration.json"]
    for name in (*old, *others):
        (tmp_path / name).write_text("old")
    with staged_folder(tmp_path) as staging:
        for name in new:
            Path(staging, name).write_text("new")
        assert all((tmp_path / name).read_text() == "old" for name in old)
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {**dict.fromkeys(others, "old"), **dict.fromkeys(new, "new")}


def test_a_save_without_weights_leaves_them(tmp_path):
    (tmp_path / "model.safetensors").write_text("old")
    with staged_folder(tmp_path) as staging:
        Path(staging, "config.json").write_text("{}")
    assert (tmp_path / "model.safetensors").read_text() == "old"
