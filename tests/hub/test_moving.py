"""Claims about new files entering a model's folder: the old model, the new one or none, and never a mixture."""

import json
import os

import pytest
import torch
from killing import Killed, killed_after

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.hub.moving import finish_moving
from critic_gpt.training.checkpoints import staged_folder


def model(width):
    config = {"vocab_size": 10, "num_hidden_layers": 1, "num_attention_heads": 2, "mask_token_id": 1}
    return CriticGPTForMaskedLM(CriticGPTConfig(hidden_size=width, **config))


@pytest.mark.parametrize("moves", [0, 1, 2, 3, 5])
def test_a_save_that_is_killed_while_files_move_is_ended_at_the_next_load(tmp_path, monkeypatch, moves):
    old, new = model(8), model(16)
    old.save_pretrained(tmp_path)
    replace = os.replace
    with pytest.raises(Killed), staged_folder(tmp_path) as staging:
        new.save_pretrained(staging)
        monkeypatch.setattr(os, "replace", killed_after(moves))
    monkeypatch.setattr(os, "replace", replace)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    kept = new if moves else old  # the first move is the switch
    assert loaded.config.hidden_size == kept.config.hidden_size
    assert all(torch.equal(one, kept.state_dict()[name]) for name, one in loaded.state_dict().items())
    assert not (tmp_path / ".saved").exists()


def test_until_the_move_is_ended_the_folder_holds_no_model(tmp_path, monkeypatch):
    model(8).save_pretrained(tmp_path)
    replace = os.replace

    def kill(source, target):
        if str(target).endswith("model.safetensors"):
            raise Killed
        replace(source, target)

    with pytest.raises(Killed), staged_folder(tmp_path) as staging:
        model(16).save_pretrained(staging)
        monkeypatch.setattr(os, "replace", kill)
    assert not (tmp_path / "config.json").exists()
    monkeypatch.setattr(os, "replace", replace)
    finish_moving(tmp_path)
    assert (tmp_path / "config.json").exists()


def test_a_folder_without_a_move_is_left_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".saved").mkdir()
    (tmp_path / ".saved" / "mine").write_text("of somebody else")
    finish_moving(tmp_path)
    finish_moving(tmp_path / "missing")
    finish_moving(tmp_path / "config.json")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".saved", "config.json", "mine"]


@pytest.mark.parametrize("listed", [["../precious"], ["/etc/hosts"], [".."], "config.json", [3], {"a": 1}])
def test_a_list_that_leads_out_of_its_folder_moves_nothing(tmp_path, listed):
    folder = tmp_path / "model"
    (folder / ".saved").mkdir(parents=True)
    (tmp_path / "precious").write_text("mine")
    (folder / ".saved" / "names.json.moving").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match="must list names of files in its folder"):
        finish_moving(folder)
    assert (tmp_path / "precious").read_text() == "mine"
