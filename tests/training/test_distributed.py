# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about several processes: DDP and FSDP2, launched as users do it, give what one process gives."""

import json
import socket
import sys
from pathlib import Path

import launching
import pytest
import torch
import yaml
from accelerate.utils import DistributedType
from critic_training import assert_equal_weights, frozen_model, make_model, make_rows, make_trainer
from labelled_folder import make_folder
from prepared_folders import as_flags
from safetensors.torch import load_file

import critic_gpt
from critic_gpt import CriticGPTForMaskedLM
from critic_gpt.scripts import train
from critic_gpt.training.callbacks import UnfreezeCallback


ROOT = Path(critic_gpt.__file__).parent
CONFIGS = ROOT / "scripts" / "configs"
# 43 rows of several lengths: in batches of 2 x 4 an epoch ends with three rows for one process and none for the other.
NUM_ROWS = 43
FIXED = as_flags(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, initializer_range=0.3, disable_tqdm=True)
FIXED += as_flags(logging_steps=1, per_device_train_batch_size=4, per_device_eval_batch_size=5, precision="fp32")
FIXED += as_flags(learning_rate=1e-2)
CRITIC = as_flags(add_critic_head=True, remaining_alpha=0.5, critic_batch_share=0.5, add_joint_head=True)
# Seven steps, one more than an epoch, evaluated in the middle.
EXACT = [*CRITIC, *as_flags(max_steps=7, stratified_times=False, eval_strategy="steps", eval_steps=3)]
EXACT += as_flags(save_strategy="no")
SINGLE = as_flags(use_cpu=True, gradient_accumulation_steps=2)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("distributed"), num=NUM_ROWS)


def flags(data_dir, output_dir, *more):
    return ["--data_dir", str(data_dir), "--output_dir", str(output_dir), *FIXED, *more]


def launch(config, script, *arguments):
    """`accelerate launch` with one of the ready configurations, on CPUs as the head of its file says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", CONFIGS / f"{config}.yaml"]
    command += ["--cpu"] if config == "single" else ["--main_process_port", port]
    return launching.run([*command, script, *arguments], ACCELERATE_USE_CPU="true")


def numbers(folder):
    """The logs of every step, every evaluation, and the weights."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    steps = {log["step"]: log for log in history if "loss" in log}
    evaluations = [log for log in history if "eval_loss" in log]
    evaluations.append(json.loads((folder / "training_metrics.json").read_text()))
    return steps, evaluations, load_file(folder / "model.safetensors")


def comparable(log):
    other = ("runtime", "second", "epoch")
    return {name: value for name, value in log.items() if not any(part in name for part in other)}


def assert_equal_numbers(one, other, tolerance=1e-5, steps=None):
    for step, log in one[0].items():
        if steps is None or step in steps:
            assert comparable(other[0][step]) == pytest.approx(comparable(log), abs=tolerance, rel=tolerance), step
    if steps is not None:
        return
    assert one[0].keys() == other[0].keys() and len(one[1]) == len(other[1])
    for log, same in zip(one[1], other[1], strict=True):
        assert comparable(same) == pytest.approx(comparable(log), abs=tolerance, rel=tolerance)
    assert one[2].keys() == other[2].keys()
    assert_equal_weights(one[2], other[2], tolerance=tolerance)


# ---- the ready configurations ----


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp2"])
def test_a_ready_configuration_says_how_it_is_used(name):
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert any(
        f"accelerate launch --config_file scripts/configs/{name}.yaml scripts/train.py" in line for line in head
    )
    assert any("CPU" in line for line in head)
    settings = yaml.safe_load(text)
    assert settings["distributed_type"] == {"single": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP"}[name]
    assert settings["num_processes"] == (1 if name == "single" else 2) and settings["mixed_precision"] == "no"
    assert name != "fsdp2" or settings["fsdp_config"]["fsdp_version"] == 2


def test_the_split_into_micro_batches_changes_no_number(data_dir, tmp_path):
    for name, more in (("one", SINGLE), ("large", ["--use_cpu", "True", "--per_device_train_batch_size", "8"])):
        train.main(flags(data_dir, tmp_path / name, *EXACT, *more))
    assert_equal_numbers(numbers(tmp_path / "one"), numbers(tmp_path / "large"))


@pytest.fixture(scope="module")
def one_process(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("launched") / "single"
    done = launch("single", ROOT / "scripts" / "train.py", *flags(data_dir, folder, *EXACT, *SINGLE))
    assert done.returncode == 0, done.stderr
    return numbers(folder)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["ddp", "fsdp2"])
def test_two_processes_give_the_numbers_of_one(data_dir, tmp_path, one_process, config):
    done = launch(config, ROOT / "scripts" / "train.py", *flags(data_dir, tmp_path, *EXACT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training sequences") == 1  # two processes that know of each other
    # In the first epoch, at its uneven end, past it, and at the end of the run.
    assert len(one_process[0]) == 7 and len(one_process[1]) == 4
    assert {"lm_loss", "critic_loss", "correction_loss", "remaining_loss"} <= set(one_process[0][1])
    assert_equal_numbers(one_process, numbers(tmp_path))
    model = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert_equal_weights({name: model.state_dict()[name] for name in one_process[2]}, one_process[2], tolerance=1e-5)


# ---- FSDP2: what is special about parameters that lie in parts ----

AVERAGED = [*CRITIC, *as_flags(max_steps=5, save_steps=3, ema_decay=0.7, learning_rate=1e-3, muon_learning_rate=1e-3)]
AVERAGED += as_flags(eval_strategy="steps", eval_steps=2)
BEST = [*CRITIC, *as_flags(max_steps=4, save_steps=1, eval_strategy="steps", eval_steps=1, ema_decay=0.7)]
BEST += as_flags(load_best_model_at_end=True, metric_for_best_model="eval_loss", greater_is_better=True)
HALF = [*CRITIC, *as_flags(max_steps=2, precision="bf16", save_strategy="no")]

# One launch for all of it: what costs time is to start.
SCENARIOS = """
import json, os, sys
from accelerate import PartialState
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback
from critic_gpt.scripts import leave_together, train

runs, found = json.load(open(sys.argv[1])), {}
build = train.build_trainer

class Look(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        found[name]["sharded"] = all(isinstance(weight, DTensor) for weight in model.parameters())

def build_and_judge(*arguments):
    trainer = build(*arguments)
    trainer.add_callback(Look())
    if name == "best":
        found[name]["before"] = trainer.evaluate()
    return trainer

train.build_trainer = build_and_judge
for name, flags in runs.items():
    os.environ["FSDP_STATE_DICT_TYPE"] = "SHARDED_STATE_DICT" if name.startswith("parts") else "FULL_STATE_DICT"
    found[name] = {}
    try:
        train.main(flags)
    except ValueError as error:
        found[name]["error"] = str(error)
if PartialState().is_main_process:
    json.dump(found, open(sys.argv[2], "w"))
leave_together()
"""


@pytest.fixture(scope="module")
def scenarios(data_dir, tmp_path_factory):
    """What ran with FSDP2 in two processes, the same in one, and what was found out on the way."""
    folder = tmp_path_factory.mktemp("scenarios")
    resumed = ["--resume_from_checkpoint", str(folder / "averaged" / "checkpoint-3")]
    runs = {
        "averaged": AVERAGED,
        "resumed": [*AVERAGED, *resumed],
        "best": BEST,
        "bf16": HALF,
        "parts": [*CRITIC, "--max_steps", "2", "--save_steps", "1"],
        "parts resumed": [*CRITIC, "--max_steps", "2", "--resume_from_checkpoint", str(folder / "parts/checkpoint-1")],
        "unfrozen": [*CRITIC, "--max_steps", "2", "--freeze_trunk", "True", "--unfreeze_step", "1"],
    }
    (folder / "run.py").write_text(SCENARIOS)
    (folder / "runs.json").write_text(
        json.dumps({name: flags(data_dir, folder / name, *more) for name, more in runs.items()})
    )
    done = launch("fsdp2", folder / "run.py", str(folder / "runs.json"), str(folder / "found.json"))
    assert done.returncode == 0, done.stderr
    for name in ("averaged", "best", "bf16", "parts"):
        train.main(flags(data_dir, folder / f"one {name}", *runs[name], *SINGLE))
    return folder, json.loads((folder / "found.json").read_text())


@pytest.mark.slow
def test_the_parameters_really_lie_in_parts(scenarios):
    found = scenarios[1]
    assert {name for name, facts in found.items() if facts.get("sharded")} == set(found) - {"unfrozen"}


@pytest.mark.slow
def test_muon_and_the_average_work_on_parts(scenarios):
    folder, _ = scenarios
    one, two = numbers(folder / "one averaged"), numbers(folder / "averaged")
    assert_equal_numbers(one, two, steps=[1])
    assert two[0][2]["loss"] == pytest.approx(one[0][2]["loss"], abs=1e-4)
    # Muon makes matrices orthogonal in bfloat16, where sums over parts are rounded otherwise: some percent of a step.
    assert_equal_numbers(one, two, tolerance=1e-2)
    for name in ("training_weights.safetensors", "model.safetensors"):
        whole, parts = (load_file(folder / run / "checkpoint-3" / name) for run in ("one averaged", "averaged"))
        assert whole.keys() == parts.keys()
        assert_equal_weights(whole, parts, tolerance=5e-4)


@pytest.mark.slow
def test_a_resumed_run_on_parts_ends_with_the_same_weights(scenarios):
    folder, _ = scenarios
    whole, resumed = numbers(folder / "averaged"), numbers(folder / "resumed")
    assert_equal_numbers(whole, resumed, tolerance=0.0)


@pytest.mark.slow
def test_the_average_and_the_best_model_of_parts_are_those_of_one_process(scenarios):
    folder, found = scenarios
    one, two = numbers(folder / "one best"), numbers(folder / "best")
    assert_equal_numbers(one, two)
    for step in (1, 4):
        kinds = []
        for name in ("training_weights.safetensors", "model.safetensors"):
            whole, parts = (load_file(folder / run / f"checkpoint-{step}" / name) for run in ("one best", "best"))
            assert whole.keys() == parts.keys()
            assert_equal_weights(whole, parts, tolerance=1e-5)
            kinds.append(parts["model.embed_tokens.weight"])
        assert (kinds[0] - kinds[1]).abs().max() > 1e-4
    # The last evaluation is that of the best of four, here of the worst.
    losses = [log["eval_loss"] for log in two[1]]
    assert losses[-1] == pytest.approx(max(losses[:-1]), abs=1e-6)
    assert found["best"]["before"]["eval_loss"] > 0


@pytest.mark.slow
def test_bf16_on_parts_is_near_that_of_one_process(scenarios):
    folder, _ = scenarios
    one, two = numbers(folder / "one bf16"), numbers(folder / "bf16")
    for step, log in one[0].items():
        assert two[0][step]["loss"] == pytest.approx(log["loss"], rel=0.05)
    assert all(weight.dtype == torch.float32 for weight in two[2].values())


@pytest.mark.slow
def test_a_run_whose_checkpoints_are_parts_leaves_a_whole_model(scenarios):
    folder, _ = scenarios
    assert not (folder / "parts" / "checkpoint-1" / "model.safetensors").exists()
    one, two = numbers(folder / "one parts"), numbers(folder / "parts")
    assert_equal_numbers(one, two)
    assert_equal_numbers(two, numbers(folder / "parts resumed"), tolerance=0.0)


@pytest.mark.slow
def test_what_cannot_be_done_with_parts_is_refused(scenarios):
    error = scenarios[1]["unfrozen"]["error"]
    assert error.startswith("`unfreeze_step` must be left out with sharded parameters, got it with FSDP: ")
    assert error.endswith("train in two runs, or with DDP.")


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
@pytest.mark.parametrize("field", ["ema_decay", "muon_learning_rate", "unfreeze_step"])
def test_the_older_kinds_of_parts_are_refused_for_more(tmp_path, monkeypatch, field, kind):
    arguments = {} if field == "unfreeze_step" else {field: 0.02}
    model = frozen_model() if field == "unfreeze_step" else make_model()
    trainer = make_trainer(tmp_path, model, make_rows(4), **arguments)
    if field == "unfreeze_step":
        trainer.add_callback(UnfreezeCallback(1))
    monkeypatch.setattr(type(trainer.accelerator), "distributed_type", kind)
    with pytest.raises(ValueError, match=f"`{field}` must be left out with sharded .* got it with {kind.value}: "):
        trainer.create_optimizer()


# ---- launches that would silently be something else ----


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "`num_processes` must be 1 where .* got 2, .*: set ACCELERATE_USE_CPU=true"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"},
            "`fsdp_version` must be 2, got 1: .* so take scripts/configs/fsdp2.yaml",
        ),
    ],
)
def test_launches_that_would_silently_be_something_else_are_refused(
    data_dir, tmp_path, monkeypatch, environment, message
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        train.main(flags(data_dir, tmp_path, "--max_steps", "1"))
    assert not list(tmp_path.iterdir())
