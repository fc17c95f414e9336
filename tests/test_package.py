# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import ast
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest
from sources import ROOT, SOURCES
from transformers import AutoConfig, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY

import critic_gpt
from critic_gpt.hub.folder import flattened, folder_name, source_files


# The floors of the house, from the ground up: a room imports from itself and from the floors below.
FLOORS = [
    {"backbones"},
    {"hub"},
    {"configuration_critic_gpt"},
    {"diffusion"},
    {"calibration"},
    {"heads"},
    {"trunk"},
    {"generation"},
    {"proofreading"},
    {"critic_model"},
    {"modeling_critic_gpt"},
    {"training", "tasks"},
    {"evaluation"},
    {"explorer"},
    {"pipelines"},
    {"registration"},
    {"__init__"},
    {"cli"},
    {"scripts"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PACKAGES = {room for room in FLOOR if (ROOT / room).is_dir()} | {"generation.strategies", "training.modifiers"}
# What a saved model takes along.
CLOSURE = {"hub", "configuration_critic_gpt", "diffusion", "calibration", "heads", "generation", "proofreading"}
CLOSURE |= {"backbones", "trunk", "critic_model", "modeling_critic_gpt", "pipelines"}

PUBLIC_NAMES = {
    *("CriticGPTConfig", "CriticGPTModel", "CriticGPTForMaskedLM", "CriticGPTForTokenClassification"),
    *("CriticGPTForSequenceClassification", "CriticGPTGenerationConfig", "CriticCalibration", "register_strategy"),
    *("CriticDiffusionPipeline", "CriticProofreadPipeline", "DataCollatorForMaskedDiffusion"),
    *("CriticTrainer", "CriticTrainingArguments", "ClassificationTrainer", "ScoringTrainer"),
    *("LossModifiers", "UnfreezeCallback", "apply_remasking_step", "build_critic_artifacts_from_logits"),
    *("AutoModelForMaskedLMWithCritic", "CriticConfig", "get_critic_model"),
}


# What only some scripts and the tests need.
EXTRAS = {"matplotlib", "PIL", "mauve", "rdkit", "fcd", "sklearn", "hypothesis", "pytest", "playwright", "peft"}


@cache
def imports_of(path: Path, at_import: bool = False) -> list[tuple[int, str]]:
    """Every import of a file as (level, module): those in functions too, but for `at_import`."""
    found, nodes = [], [ast.parse(path.read_text(encoding="utf-8"))]
    for node in nodes:
        if not (at_import and isinstance(node, ast.FunctionDef)):
            nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom):
            if node.module in (None, "critic_gpt") and (node.level or node.module):
                prefix = "" if node.module is None else f"{node.module}."
                found += [(node.level, prefix + alias.name) for alias in node.names]
            else:
                found.append((node.level, node.module))
        elif isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
    return found


def modules() -> dict[str, Path]:
    """Every module of the package by its name within it; tests and packaging are none."""
    paths = [path for path in ROOT.glob("*.py") if path.name != "setup.py"]
    paths += [path for room in FLOOR for path in (ROOT / room).glob("**/*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()
IN_CLOSURE = sorted(name for name in MODULES if name.split(".")[0] in CLOSURE and MODULES[name].name != "__init__.py")


def room_of(module: str) -> str | None:
    """Which room an absolute import enters; `None` for somebody else's."""
    parts = module.split(".")
    if parts[0] != "critic_gpt":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else "__init__"


# ---- the face ----


def test_the_public_names_are_frozen():
    assert set(critic_gpt.__all__) == PUBLIC_NAMES
    assert len(critic_gpt.__all__) == len(PUBLIC_NAMES) == 22
    assert set(dir(critic_gpt)) >= PUBLIC_NAMES
    for name in PUBLIC_NAMES:
        assert (getattr(critic_gpt, name).__doc__ or "").strip(), f"{name} has no docstring"


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
    assert task["pt"] == (critic_gpt.AutoModelForMaskedLMWithCritic,)


def test_importing_needs_no_library_of_the_extras():
    reached, waiting = set(), ["__init__", "tasks", "training.trainer"]
    while waiting:
        name = waiting.pop()
        for _, module in [] if name in reached or name not in MODULES else imports_of(MODULES[name], at_import=True):
            assert module.split(".")[0] not in EXTRAS, f"{name} imports {module}"
            parts = module.split(".")[1:]
            waiting += [".".join(parts[: i + 1]) for i in range(len(parts))] if room_of(module) else []
        reached.add(name)
    assert {"hub.files", "generation.run", "training.base_trainer", "tasks.sudoku"} <= reached


# ---- who may import whom ----


def test_every_room_has_a_floor_and_the_root_holds_no_other_code():
    files = {path.stem for path in ROOT.glob("*.py")} - {"setup"}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert files | folders == set(FLOOR)
    assert files == {"__init__", "configuration_critic_gpt", "modeling_critic_gpt", "registration"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_absolutely_and_downwards_only(name):
    own = name.split(".")[0]
    for level, module in imports_of(MODULES[name]):
        assert level == 0, f"{name} imports relatively"
        entered = room_of(module)
        assert entered in (None, own) or FLOOR[entered] < FLOOR[own], f"{name} imports {module}"


def unflattened(text: str) -> list[str]:
    """
    The lines that name a module of ours in a form that the writer of folders cannot flatten. Looked for line by line,
    in docstrings too, as the loader of Transformers reads them; and in the syntax tree, wherever in a line they stand.
    """
    lines = text.splitlines()
    found = {line for line in lines if re.match(r"\s*(from|import)\s+(critic_gpt\b|\.)", line)}
    for node in ast.walk(ast.parse(text)):
        ours = isinstance(node, ast.ImportFrom) and (node.level or room_of(node.module))
        ours = ours or (isinstance(node, ast.Import) and any(room_of(alias.name) for alias in node.names))
        if ours:
            found.add(lines[node.lineno - 1])

    def is_flattened(line: str) -> bool:
        match = re.match(r"\s*from critic_gpt\.([\w.]+) import ", line)
        return match is not None and match[1] in IN_CLOSURE and flattened(line) != line

    return sorted(line.strip() for line in found if not is_flattened(line))


def test_the_architecture_page_counts_rooms_floors_and_arrows_as_they_are():
    arrows = set()
    for name, path in MODULES.items():
        own = name.split(".")[0]
        arrows |= {(own, room_of(module)) for _, module in imports_of(path)} - {(own, own), (own, None)}
    heights: dict[str, int] = {}
    for room in sorted(FLOOR, key=FLOOR.get):
        heights[room] = 1 + max((heights[below] for above, below in arrows if above == room), default=0)
    said = f"{len(FLOOR)} rooms, {max(heights.values())} floors, {len(arrows)} arrows between rooms"
    page = ROOT / "docs" / "ARCHITECTURE.md"
    if not page.is_file():
        pytest.skip("the package is installed without its documents")
    assert said in page.read_text(encoding="utf-8"), said


@pytest.mark.parametrize("name", IN_CLOSURE)
def test_what_travels_with_a_model_names_our_modules_in_a_form_that_the_writer_can_flatten(name):
    # That is `from critic_gpt.room.module import name`, of a module that travels too.
    assert unflattened(MODULES[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "from critic_gpt import modeling_critic_gpt",
        "from critic_gpt.generation import run",
        "from critic_gpt.generation.strategies import base",
        "from critic_gpt.heads import CriticHead",
        "from critic_gpt.training.data import IdentifiedExamples",
        "from critic_gpt.generation.nowhere import Name",
        "from critic_gpt.generation.run  import DenoisingRun",
        "import critic_gpt",
        "import critic_gpt.generation.run",
        "import critic_gpt.generation.run as run",
        "import torch, critic_gpt.generation.run",
        "from .run import DenoisingRun",
        "from . import run",
        "from ..heads.critic import CriticHead",
    ],
)
def test_the_search_for_other_forms_finds_them_wherever_they_stand(line):
    fine = "from critic_gpt.generation.run import DenoisingRun"
    assert unflattened(f"{fine}\n\n\ndef inner():\n    {fine}\n") == []
    assert unflattened(line) == unflattened(f"def inner():\n    {line}\n") == [line]
    if line.startswith(("from critic_gpt", "import critic_gpt", "from .")):
        assert unflattened(f'"""\n{line}\n"""') == [line]
    assert unflattened(f"if True: {line}\n") == [f"if True: {line}"]


# Modules of rooms that travel which no model needs.
AT_HOME = {"calibration.histogram"}


def test_no_two_modules_have_one_name_in_a_models_folder_and_none_changes_its_lines():
    names = {f"{folder_name(name)}.py": name for name in IN_CLOSURE}
    assert len(names) == len(IN_CLOSURE)
    files = source_files()
    assert {names[file] for file in files} == set(IN_CLOSURE) - AT_HOME
    for file, text in files.items():
        source = MODULES[names[file]].read_text(encoding="utf-8")
        changed = [pair for pair in zip(text.split("\n"), source.split("\n"), strict=True) if pair[0] != pair[1]]
        assert all(re.match(r"\s*from \.\w+ import ", line) for line, _ in changed)


def test_what_travels_with_a_model_needs_no_library_but_these():
    # Whoever loads it without the package has to have them; tests/hub/test_remote_code.py does.
    allowed = {"torch", "transformers", "safetensors", "huggingface_hub", "critic_gpt"}
    allowed.add("msvcrt")  # of Windows itself
    for name in IN_CLOSURE:
        found = {module.split(".")[0] for _, module in imports_of(MODULES[name])} - sys.stdlib_module_names
        assert name in AT_HOME or found <= allowed, f"{name} imports {found - allowed}"


def test_pipelines_import_each_other_the_writer_of_folders_and_the_description_of_a_backbone_alone():
    # A pipeline asks the model it is given; its class may be of a module loaded from somewhere else.
    for path in (ROOT / "pipelines").glob("*.py"):
        for _, module in imports_of(path):
            assert room_of(module) in (None, "pipelines", "hub", "backbones", "diffusion"), (
                f"{path.name} imports {module}"
            )


def test_every_public_model_belongs_to_the_configuration():
    assert issubclass(critic_gpt.CriticGPTConfig, PretrainedConfig)
    for name in PUBLIC_NAMES:
        if name.startswith("CriticGPTFor") or name == "CriticGPTModel":
            cls = getattr(critic_gpt, name)
            assert issubclass(cls, PreTrainedModel) and cls.config_class is critic_gpt.CriticGPTConfig


# ---- files are data ----


DANGEROUS_MODULES = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}


def fault_of(node: ast.AST) -> str | None:
    """Why a place in a program could run what a file says; `None` where it could not."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        found = DANGEROUS_MODULES & {name.split(".")[0] for name in names}
        unpickles = isinstance(node, ast.ImportFrom) and node.module == "pickle"
        return f"imports {sorted(found)}" if found else ("takes pickle apart" if unpickles else None)
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if called in ("eval", "exec", "__import__", "builtins.eval", "builtins.exec") or called.startswith("pickle."):
        return f"calls {called}"
    if called == "torch.load" and given.get("weights_only") != "True":
        return "calls torch.load without weights_only=True"
    if called.startswith("yaml.") and "load" in called and called not in ("yaml.safe_load", "yaml.safe_load_all"):
        return f"calls {called}"
    if given.get("allow_pickle", "False") != "False" or given.get("trust_remote_code", "False") != "False":
        return f"calls {called} and trusts what it reads"
    return None


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "from pickle import loads",
        "import joblib",
        "exec(open(path).read())",
        "eval(text)",
        "numpy.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_the_search_for_dangerous_calls_finds_them(line):
    assert any(fault_of(node) for node in ast.walk(ast.parse(line)))


def test_nothing_in_the_package_runs_what_a_file_says():
    assert set(SOURCES) >= set(MODULES.values())
    faults = [
        f"{path.relative_to(ROOT)}:{node.lineno} {fault_of(node)}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if fault_of(node)
    ]
    assert faults == []


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
    outside = {"tests", "docs", ".venv", "build", "runs"}
    found = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/*.py")}
    folders = {".".join(path.parts) for path in found if path.parts[0] not in outside}
    assert folders == PACKAGES
    assert listed == {"critic_gpt"} | {f"critic_gpt.{name}" for name in PACKAGES}


def test_everything_imported_is_declared():
    arguments = setup_arguments()
    declared = {re.match(r"[\w-]+", text).group() for text in ast.literal_eval(arguments["install_requires"])}
    through_transformers = {"tokenizers", "huggingface_hub", "safetensors"}
    through_datasets = {"pyarrow"}
    optional = {"matplotlib", "PIL", "mauve", "rdkit", "fcd", "selfies"}
    other_names = {"yaml"} if "pyyaml" in declared else set()
    known = declared | through_transformers | through_datasets | optional | other_names | {"critic_gpt"}
    for path in MODULES.values():
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
    expected = {f"critic_gpt/{path.relative_to(ROOT)}" for path in MODULES.values()}
    expected |= {f"critic_gpt/{path.relative_to(ROOT)}" for path in (ROOT / "scripts/configs").glob("*.yaml")}
    expected |= {f"critic_gpt/explorer/assets/{path.name}" for path in (ROOT / "explorer/assets").iterdir()}
    assert names == expected | {"critic_gpt/py.typed"}


def test_hooks_run_the_linter_of_constraints_txt():
    pinned = re.findall(r"^ruff==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    hooks = re.findall(r"ruff==[^\s\],]+", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert len(pinned) == 1 and set(hooks) == set(pinned)


def test_the_installed_package_is_the_one_tested():
    assert importlib.metadata.version("critic_gpt") == critic_gpt.__version__
