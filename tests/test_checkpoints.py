"""Checkpoints that are whole or not there."""

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
