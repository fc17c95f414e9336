# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import ast
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY

import critic_gpt


ROOT = Path(critic_gpt.__file__).parent
ROOMS = {"evaluation", "explorer", "pipelines", "scripts", "tasks", "training"}
PACKAGES = ROOMS | {"training.modifiers"}
# The flat siblings that a saved model takes along; each may import only what stands before it.
HUB_CLOSURE = [
    "model_folder",
    "configuration",
    "remasking",
    "diffusion",
    "losses",
    "heads",
    "rotary",
    "joint_head",
    "calibration_file",
    "calibration_table",
    "calibration",
    "adapters",
    "stored_weights",
    "tables_by_weights",
    "loading",
    "denoising",
    "joint_draws",
    "processors",
    "denoising_run",
    "stopping",
    "streamers",
    "strategy",
    "strategies_one_pass",
    "strategies_backtracking",
    "strategies_fill_all",
    "strategies_remdm",
    "strategies",
    "generation_configuration",
    "generation_settings",
    "quality",
    "generation",
    "calibrated_model",
    "proofreading",
    "modeling",
]
ROOT_FILES = {f"{name}_critic_gpt" for name in HUB_CLOSURE}
# What each room may import of ours, beside itself.
MAY_IMPORT = {
    "pipelines": set(),
    "training": {"root"},
    "tasks": {"root"},
    "evaluation": {"root", "training", "tasks"},
    "explorer": {"root", "training", "tasks", "evaluation"},
    "scripts": {"root", "training", "tasks", "evaluation", "explorer", "pipelines", "face"},
    "face": {"root", "training", "pipelines", "tasks", "evaluation"},
}

PUBLIC_NAMES = {
    "ClassificationTrainer",
    "LossModifiers",
    "ScoringTrainer",
    "UnfreezeCallback",
    "CriticCalibration",
    "CriticDiffusionPipeline",
    "CriticGPTConfig",
    "CriticGPTForMaskedLM",
    "CriticGPTForSequenceClassification",
    "CriticGPTForTokenClassification",
    "CriticGPTGenerationConfig",
    "CriticGPTModel",
    "CriticProofreadPipeline",
    "CriticTrainer",
    "CriticTrainingArguments",
    "DataCollatorForMaskedDiffusion",
    "apply_remasking_step",
    "build_critic_artifacts_from_logits",
}


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Every import of a file, function-level ones included, as (level, module)."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.module in (None, "critic_gpt") and (node.level or node.module):
                prefix = "" if node.module is None else f"{node.module}."
                found += [(node.level, prefix + alias.name) for alias in node.names]
            else:
                found.append((node.level, node.module))
        elif isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
    return found


def room_of(module: str) -> str | None:
    """Which room an absolute import enters; `None` for somebody else's."""
    parts = module.split(".")
    if parts[0] != "critic_gpt":
        return None
    if len(parts) == 1:
        return "face"
    if parts[1] in ROOMS:
        return parts[1]
    return "root" if parts[1] in ROOT_FILES else "face"


# ---- the face ----


def test_the_public_names_are_frozen():
    assert set(critic_gpt.__all__) == PUBLIC_NAMES
    assert len(critic_gpt.__all__) == len(PUBLIC_NAMES) == 18
    for name in PUBLIC_NAMES:
        assert getattr(critic_gpt, name) is not None


def test_every_public_class_and_function_is_documented():
    for name in PUBLIC_NAMES:
        assert (getattr(critic_gpt, name).__doc__ or "").strip(), name


def test_importing_twice_is_harmless():
    before = {name: getattr(critic_gpt, name) for name in PUBLIC_NAMES}
    tasks = list(PIPELINE_REGISTRY.get_supported_tasks())
    again = importlib.reload(critic_gpt)
    assert {name: getattr(again, name) for name in PUBLIC_NAMES} == before
    assert list(PIPELINE_REGISTRY.get_supported_tasks()) == tasks
    assert tasks.count("critic-diffusion") == 1


def test_registration_reaches_the_auto_classes_and_the_pipelines():
    config = AutoConfig.for_model("critic_gpt", vocab_size=8, n_embd=4, n_head=1, n_layer=1)
    assert type(config) is critic_gpt.CriticGPTConfig
    assert type(AutoModelForMaskedLM.from_config(config)) is critic_gpt.CriticGPTForMaskedLM
    _, task, _ = PIPELINE_REGISTRY.check_task("critic-diffusion")
    assert task["impl"] is critic_gpt.CriticDiffusionPipeline
    assert task["pt"] == (AutoModelForMaskedLM,)


@pytest.mark.slow
def test_importing_needs_no_library_of_the_extras():
    code = (
        "import sys, critic_gpt, critic_gpt.tasks, critic_gpt.training.trainer\n"
        "print([name for name in ('matplotlib', 'sklearn', 'hypothesis', 'pytest') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ---- who may import whom ----


def test_the_closure_is_every_root_module():
    found = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "setup"}
    assert found == ROOT_FILES


@pytest.mark.parametrize("name", HUB_CLOSURE)
def test_a_root_module_imports_only_siblings_below_it_and_never_the_package(name):
    below = {f"{other}_critic_gpt" for other in HUB_CLOSURE[: HUB_CLOSURE.index(name)]}
    for level, module in imports_of(ROOT / f"{name}_critic_gpt.py"):
        if level:
            assert level == 1 and module in below, f"{name} imports .{module}"
        else:
            assert module.split(".")[0] != "critic_gpt", f"{name} imports {module}"


@pytest.mark.parametrize("name", HUB_CLOSURE)
def test_the_text_of_a_root_module_shows_the_exporter_only_real_siblings(name):
    # Transformers follows the pattern line by line, in docstrings as well.
    text = (ROOT / f"{name}_critic_gpt.py").read_text(encoding="utf-8")
    for module in re.findall(r"^\s*from\s+\.(\S+)\s+import", text, flags=re.MULTILINE):
        # In a model's folder the pipelines are siblings too; only the table of what a folder offers names them.
        in_pipelines = name == "model_folder" and (ROOT / "pipelines" / f"{module}.py").exists()
        assert (ROOT / f"{module}.py").exists() or in_pipelines, module
    assert not re.search(r"^\s*import\s+\.", text, flags=re.MULTILINE)


def test_the_export_of_the_model_is_the_whole_closure():
    reached, todo = set(), ["modeling_critic_gpt"]
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            todo += [name for level, name in imports_of(ROOT / f"{module}.py") if level == 1]
    assert reached == ROOT_FILES


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_downwards_only(room):
    allowed = MAY_IMPORT[room] | {room}
    for path in sorted((ROOT / room).glob("**/*.py")):
        for level, module in imports_of(path):
            assert level == 0, f"{path.name} imports relatively"
            entered = room_of(module)
            assert entered is None or entered in allowed, f"{room}/{path.name} imports {module}"


def test_the_files_of_pipelines_import_nothing_of_ours():
    for path in (ROOT / "pipelines").glob("*.py"):
        if path.name != "__init__.py":
            assert all(level == 0 and room_of(module) is None for level, module in imports_of(path)), path.name


def test_the_face_imports_absolutely_since_pytest_runs_it_nameless():
    assert all(level == 0 for level, _ in imports_of(ROOT / "__init__.py"))


def test_every_public_model_belongs_to_the_configuration():
    assert issubclass(critic_gpt.CriticGPTConfig, PretrainedConfig)
    for name in PUBLIC_NAMES:
        if name.startswith("CriticGPTFor") or name == "CriticGPTModel":
            cls = getattr(critic_gpt, name)
            assert issubclass(cls, PreTrainedModel) and cls.config_class is critic_gpt.CriticGPTConfig


# ---- packaging ----


def setup_arguments() -> dict[str, ast.expr]:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"]
    return {keyword.arg: keyword.value for keyword in calls[0].keywords}


def test_the_version_is_written_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", critic_gpt.__version__)
    run = subprocess.run([sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip().splitlines()[-1] == critic_gpt.__version__, run.stderr
    assert critic_gpt.__version__ not in (ROOT / "setup.py").read_text(encoding="utf-8")


def test_the_package_list_is_exactly_the_folders_with_code():
    listed = set(ast.literal_eval(setup_arguments()["packages"]))
    outside = {"tests", ".venv", "build", "runs"}
    found = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py")}
    folders = {".".join(path.parts) for path in found if path.parts[0] not in outside}
    assert folders == PACKAGES
    assert listed == {"critic_gpt"} | {f"critic_gpt.{name}" for name in PACKAGES}


def test_everything_imported_is_declared():
    arguments = setup_arguments()
    declared = {re.match(r"[\w-]+", text).group() for text in ast.literal_eval(arguments["install_requires"])}
    through_transformers = {"tokenizers", "huggingface_hub", "safetensors"}
    through_datasets = {"pyarrow"}
    optional = {"matplotlib", "gradio"}
    other_names = {"yaml"} if "pyyaml" in declared else set()
    known = declared | through_transformers | through_datasets | optional | other_names | {"critic_gpt"}
    files = [path for path in ROOT.glob("*.py") if path.name != "setup.py"]
    files += [path for room in ROOMS for path in (ROOT / room).glob("**/*.py")]
    for path in files:
        for level, module in imports_of(path):
            top = module.split(".")[0]
            assert level or top in known or top in sys.stdlib_module_names, f"{path.name} imports {module}"


def test_a_wheel_holds_the_packages_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    skipped = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "docs")
    shutil.copytree(ROOT, source, ignore=skipped)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run = subprocess.run([*command, "--wheel-dir", tmp_path, source], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"critic_gpt-{critic_gpt.__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {f"critic_gpt/{name}.py" for name in ROOT_FILES | {"__init__"}}
    for room in ROOMS:
        expected |= {f"critic_gpt/{path.relative_to(ROOT)}" for path in (ROOT / room).glob("**/*.py")}
    expected |= {f"critic_gpt/{path.relative_to(ROOT)}" for path in (ROOT / "scripts/configs").glob("*.yaml")}
    assert names == expected


def test_the_installed_package_is_the_one_tested():
    assert importlib.metadata.version("critic_gpt") == critic_gpt.__version__
