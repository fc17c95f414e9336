# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about a model's folder: complete whoever wrote it, and used the same where the package is not installed."""

import importlib
import json
import shutil
from pathlib import Path

import clean_process
import pytest
from complete_folder import assert_complete
from model_look import look
from transformers import AutoModelForMaskedLM, pipeline
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.pipelines import PIPELINE_REGISTRY

import critic_gpt
from critic_gpt import (
    CriticCalibration,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
    CriticTrainer,
    CriticTrainingArguments,
)
from critic_gpt.hub.folder import AUTO_MAP, PIPELINES, source_files, write_source_files


ROOT = Path(critic_gpt.__file__).parent
TABLE = [(i / 99) ** 2 for i in range(100)]
CLASSES = [
    "CriticGPTModel",
    "CriticGPTForMaskedLM",
    "CriticGPTForTokenClassification",
    "CriticGPTForSequenceClassification",
]
TASKS = sorted(PIPELINES)


@pytest.fixture
def calibrated(tiny_model):
    """A model with both tables."""
    model = tiny_model()
    own = {"fingerprint": model.fingerprint()}
    model.calibration = CriticCalibration(TABLE, own)
    model.trajectory_calibration = CriticCalibration(TABLE[::-1], {**own, "remasking": "critic"})
    return model


# ---- what a folder offers ----


def test_the_table_names_classes_that_exist_and_every_pipeline_there_is():
    for reference in AUTO_MAP.values():
        assert hasattr(critic_gpt, reference.split(".")[1])
    files = {path.stem for path in (ROOT / "pipelines").glob("*.py")} - {"__init__", "critic_pipeline"}
    assert {info["impl"].split(".")[0] for info in PIPELINES.values()} == files
    for task, info in PIPELINES.items():
        implementation = PIPELINE_REGISTRY.check_task(task)[1]["impl"]
        assert f"{implementation.__module__.split('.')[-1]}.{implementation.__name__}" == info["impl"]


def test_every_file_that_config_json_names_brings_all_others(tmp_path):
    # So Transformers fetches all of them with whichever is asked for first, and a second save finds them. Locally it
    # names a module by the contents of all that it brings: model, configuration and pipelines share their modules.
    files = write_source_files(tmp_path)
    references = [*AUTO_MAP.values(), *(info["impl"] for info in PIPELINES.values())]
    for name in {f"{reference.partition('.')[0]}.py" for reference in references}:
        reached = {Path(path).name for path in get_relative_import_files(tmp_path / name)} | {name}
        assert reached == set(files), name


# ---- whoever wrote it ----


@pytest.mark.parametrize(
    "model_class",
    [CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification],
)
def test_every_model_class_writes_a_complete_folder(tmp_path, tiny_config, model_class):
    model_class(tiny_config()).save_pretrained(tmp_path)
    assert_complete(tmp_path, model_class.__name__)


@pytest.mark.parametrize("task", PIPELINES)
def test_every_pipeline_writes_a_complete_folder_and_leaves_the_model_usable(tmp_path, calibrated, tokenizer, task):
    pipe = pipeline(task, model=calibrated, tokenizer=tokenizer)
    pipe.save_pretrained(tmp_path)
    assert_complete(tmp_path, tokenizer=True, calibration=True)
    # With the configuration in hand `pipeline` asks for trust where it names pipelines.
    assert pipeline(task, model=calibrated, tokenizer=tokenizer, config=calibrated.config)


def test_the_trainer_and_its_checkpoints_write_complete_folders(tmp_path, calibrated, tokenizer):
    quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "per_device_train_batch_size": 2}
    args = CriticTrainingArguments(output_dir=str(tmp_path), **quiet, max_steps=1, save_steps=1)
    rows = [{"input_ids": [2, 3, 4, 5, 6, 7]}] * 4
    trainer = CriticTrainer(calibrated, args, processing_class=tokenizer, train_dataset=rows)
    trainer.save_model(str(tmp_path / "before"))
    assert_complete(tmp_path / "before", tokenizer=True, calibration=True)
    trainer.train()
    assert_complete(tmp_path / "checkpoint-1", tokenizer=True)  # the tables were of other weights
    trainer.save_model()
    assert_complete(tmp_path, tokenizer=True)


def test_a_configuration_alone_takes_its_files_along(tmp_path, tiny_config):
    tiny_config().save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == set(source_files()) | {"config.json"}


def test_registering_by_hand_as_for_other_models_changes_nothing(tmp_path, tiny_model):
    type(tiny_model().config).register_for_auto_class()
    CriticGPTForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
    tiny_model().save_pretrained(tmp_path)
    assert_complete(tmp_path)


def test_what_others_register_in_the_configuration_is_kept(tmp_path, tiny_model):
    model = tiny_model()
    model.config.auto_map = {"AutoTokenizer": ["mine.Tokenizer", None], "AutoModel": "me/repo--old.CriticGPTModel"}
    model.config.custom_pipelines = {"theirs": {"impl": "theirs.Pipeline", "pt": ["AutoModel"]}}
    model.save_pretrained(tmp_path)
    config = CriticGPTForMaskedLM.from_pretrained(tmp_path).config
    assert config.auto_map == {**AUTO_MAP, "AutoTokenizer": ["mine.Tokenizer", None]}
    assert set(config.custom_pipelines) == {"theirs"}
    assert set(config.to_dict()["custom_pipelines"]) == {"theirs", *PIPELINES}


MINE = """
from {ours} import CriticGPTForMaskedLM

class Mine(CriticGPTForMaskedLM):
    def mine(self):
        return 42
"""
MY_PIPELINE = """
from critic_gpt import CriticDiffusionPipeline

class Shouting(CriticDiffusionPipeline):
    def postprocess(self, model_outputs):
        return super().postprocess(model_outputs)["generated_text"].upper()
"""


def test_a_subclass_and_a_pipeline_in_files_of_their_own_are_saved_and_loaded_as_for_other_models(
    tmp_path, monkeypatch, tiny_model, tokenizer
):
    (tmp_path / "mine_of_hub_test.py").write_text(MINE.format(ours="critic_gpt"))
    (tmp_path / "shouting_of_hub_test.py").write_text(MY_PIPELINE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("mine_of_hub_test").Mine
    mine.register_for_auto_class("AutoModelForMaskedLM")
    model = mine(tiny_model().config)
    shouting = importlib.import_module("shouting_of_hub_test").Shouting
    PIPELINE_REGISTRY.register_pipeline("shouting", shouting, pt_model=AutoModelForMaskedLM)
    pipeline("shouting", model=model, tokenizer=tokenizer).save_pretrained(tmp_path / "saved")
    del PIPELINE_REGISTRY.supported_tasks["shouting"]

    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["auto_map"] == {**AUTO_MAP, "AutoModelForMaskedLM": "mine_of_hub_test.Mine"}
    assert set(config["custom_pipelines"]) == {*PIPELINES, "shouting"}
    names = {path.name for path in (tmp_path / "saved").glob("*.py")}
    assert names == {*source_files(), "mine_of_hub_test.py", "shouting_of_hub_test.py"}
    loaded = pipeline("shouting", str(tmp_path / "saved"), trust_remote_code=True)
    assert loaded("abc", max_new_tokens=3, num_steps=2).startswith("ABC")


# ---- wherever it is loaded ----


BESIDE = """
import sys
from transformers import AutoModelForMaskedLM

folder, saved = sys.argv[1:]
result = []
for source, target in ((folder, saved), (saved, saved + "-again")):
    model = AutoModelForMaskedLM.from_pretrained(source, trust_remote_code=True)
    model.save_pretrained(target)
    result.append([type(model).__name__, model.mine()])
"""


@pytest.mark.slow
def test_a_subclass_beside_our_files_in_a_folder_is_saved_from_there_too(tmp_path, tiny_model):
    folder = tmp_path / "model"
    tiny_model().save_pretrained(folder)
    (folder / "mine.py").write_text(MINE.format(ours=".modeling_critic_gpt"))
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModelForMaskedLM"] = "mine.Mine"
    (folder / "config.json").write_text(json.dumps(config))
    environment = {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    found = clean_process.run(BESIDE, folder, tmp_path / "saved", package=False, environment=environment)
    assert found == [["Mine", 42]] * 2
    names = {path.name for path in (tmp_path / "saved-again").glob("*.py")}
    assert names == {*source_files(), "mine.py"}


ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, pipeline
from model_look import generated, look, tables

folder, saved, tasks = sys.argv[2], sys.argv[3], sys.argv[4].split()
trust = {"trust_remote_code": True}
result = {"look": look(folder, tasks, **trust)}
model = AutoModelForMaskedLM.from_pretrained(folder, **trust)
model.save_pretrained(saved + "/model")
AutoModelForSequenceClassification.from_pretrained(folder, **trust).save_pretrained(saved + "/scorer")
for task in tasks:
    pipeline(task, model=folder, **trust).save_pretrained(saved + "/" + task)
# Where the repository holds the code at its root, weights may lie in a folder of it.
model.save_pretrained(saved + "/nested/inner")
model.config.save_pretrained(saved + "/nested")
inner = AutoModelForMaskedLM.from_pretrained(saved + "/nested", subfolder="inner", **trust)
result["inner"] = [generated(inner), tables(inner)]
for name, ask in {"model": AutoModelForMaskedLM.from_pretrained, "pipeline": lambda f: pipeline(tasks[0], f)}.items():
    try:
        ask(folder)
    except ValueError as error:
        result[name] = str(error)
"""
AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from transformers import AutoModelForSequenceClassification
from model_look import look

saved, tasks = sys.argv[2], sys.argv[3].split()
trust = {"trust_remote_code": True}
result = [look(f"{saved}/{task}", tasks, **trust) for task in tasks]
scorer = AutoModelForSequenceClassification.from_pretrained(saved + "/scorer", **trust)
result.append(type(scorer).__name__)
"""


@pytest.mark.slow
def test_a_folder_does_the_same_with_and_without_the_package_and_after_being_saved_from_there(
    tmp_path, calibrated, tokenizer
):
    folder, saved, tests = tmp_path / "model", tmp_path / "saved", str(Path(__file__).parents[1] / "helpers")
    calibrated.save_pretrained(folder, max_shard_size="5KB")
    tokenizer.save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    here = look(folder, TASKS)
    assert here["classes"] == CLASSES and here["config"] == "CriticGPTConfig"
    assert here["tables"] == [[0.0, 0.0, 0.0], [1.0, 0.98, 0.96]]
    assert look(folder, TASKS, trust_remote_code=True) == here

    modules = {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    there = clean_process.run(ELSEWHERE, tests, folder, saved, " ".join(TASKS), package=False, environment=modules)
    assert there["look"] == here
    assert there["inner"] == [here["generated"], here["tables"]]
    assert "trust_remote_code=True" in there["model"] and "trust_remote_code=True" in there["pipeline"]

    # Where the first folder is gone, and with it the modules loaded from it.
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "modules")
    assert_complete(saved / "model", calibration=True)
    assert_complete(saved / "scorer", "CriticGPTForSequenceClassification")
    for task in TASKS:
        assert_complete(saved / task, tokenizer=True, calibration=True)
    assert look(saved / TASKS[0], TASKS) == here
    *looks, scorer = clean_process.run(AGAIN, tests, saved, " ".join(TASKS), package=False, environment=modules)
    assert looks == [here] * len(TASKS) and scorer == "CriticGPTForSequenceClassification"


def test_a_folder_in_a_folder_loads_with_the_package(tmp_path, calibrated, tokenizer):
    calibrated.save_pretrained(tmp_path / "inner")
    tokenizer.save_pretrained(tmp_path / "inner")
    here = look(tmp_path / "inner", TASKS)
    assert look(tmp_path, TASKS, model_kwargs={"subfolder": "inner"}) == here
