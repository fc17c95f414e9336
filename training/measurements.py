# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What is known about the weights in a model's folder: `measurements.json`, from which its card is written.

{"data": {...}, "training": {"fingerprint": ..., ...}, "evaluation": {"fingerprint": ..., ...}}

Each entry but the data's names the weights it was measured on, and is passed over where others lie there by now.
"""

import importlib.metadata
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers.trainer_utils import has_length

from critic_gpt.calibration.fingerprint import (
    ADAPTER_WEIGHTS_NAME,
    fingerprints_agree,
    stored_fingerprint,
    stored_fingerprints,
    weights_fingerprint,
)
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import replace_file, write_json


MEASUREMENTS_NAME = "measurements.json"
FIGURES = "figures"
# What `evaluate` writes to be passed on, and what `generate --animate` may leave beside the weights.
REPORT = "report.html"
ANIMATIONS = ("denoising.gif", "denoising.html")
# Of the metadata that scripts/prepare_data.py leaves beside its data.
DATA_FACTS = ("task", "size", "source", "sequence_length", "vocab_size", "num_examples", "num_tokens", "seed")
# Of the training arguments: those that shape the weights.
SETTINGS = (
    *("learning_rate", "muon_learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "adam_beta1"),
    *("adam_beta2", "optim", "max_grad_norm", "ema_decay", "seed", "data_seed", "masking", "min_mask_rate"),
    *("critic_warmup_start", "critic_warmup_end", "critic_batch_share", "joint_batch_share", "bf16", "fp16"),
)
LIBRARIES = ("critic_gpt", "transformers", "torch")


def folder_fingerprint(folder: str | os.PathLike) -> str | None:
    """Identifies the weights that lie in a folder, of a model or of an adapter; `None` where there are none."""
    adapter = Path(folder, ADAPTER_WEIGHTS_NAME)
    if adapter.is_file():
        return weights_fingerprint(load_file(adapter))
    return stored_fingerprint(folder)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file; empty where there is none."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}


def read_measurements(folder: str | os.PathLike) -> dict[str, Any]:
    """The entries of `measurements.json` that hold for the weights in the folder."""
    entries = read_json(Path(folder, MEASUREMENTS_NAME))
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(
                f"`{MEASUREMENTS_NAME}` must hold objects, got {entry!r:.60} for {name!r:.60} in {str(folder)!r}: "
                "remove the file."
            )
    own = folder_fingerprint(folder) if entries else None
    return {name: entry for name, entry in entries.items() if entry.get("fingerprint") in (None, own)}


def record(folder: str | os.PathLike, name: str, entry: Mapping[str, Any]) -> None:
    """Writes an entry of `measurements.json`, in one step, beside the others."""
    path = Path(folder, MEASUREMENTS_NAME)
    entries = {**read_json(path), name: dict(entry)}
    write_json(path, entries)


def record_data(folder: str | os.PathLike, data_dir: str | os.PathLike) -> None:
    """Records what the data say of themselves, if scripts/prepare_data.py made them."""
    facts = read_json(Path(data_dir, "task.json"))
    entry = {name: facts[name] for name in DATA_FACTS if name in facts}
    if isinstance(entry.get("source"), str):  # a file has a name that others may know, and a folder that they need not
        entry["source"] = Path(entry["source"]).name
    if entry:
        record(folder, "data", entry)


def record_training(folder: str | os.PathLike, trainer) -> None:
    """Records how a trainer came by the weights in a folder: settings, steps, and what it last measured."""
    args, state = trainer.args, trainer.state
    evaluated = [entry for entry in state.log_history if "eval_loss" in entry]
    latest = evaluated[-1] if evaluated and evaluated[-1].get("step") == state.global_step else {}
    timing = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
    settings = {name: getattr(args, name) for name in SETTINGS}
    settings = {name: getattr(value, "value", value) for name, value in settings.items()}  # of enumerations
    if isinstance(settings["masking"], str):  # maybe the path of a file
        settings["masking"] = Path(settings["masking"]).name
    entry = {
        "fingerprint": folder_fingerprint(folder),
        "steps": state.global_step,
        "epochs": state.epoch,
        "batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "sequences": _length(trainer.train_dataset),
        "evaluated_sequences": _length(trainer.eval_dataset),
        "num_parameters": trainer.model.num_parameters(),
        "settings": settings,
        "metrics": {name: value for name, value in latest.items() if name.startswith("eval_") and name not in timing},
        "versions": {name: importlib.metadata.version(name).partition("+")[0] for name in LIBRARIES},
    }
    record(folder, "training", entry)


def _length(dataset) -> int | None:
    return len(dataset) if dataset is not None and has_length(dataset) else None


def record_report(folder: str | os.PathLike, report_dir: str | os.PathLike) -> None:
    """
    Records a report of scripts/evaluate.py and copies its pictures.

    Raises:
        `ValueError`: No report there, or one on other weights.
    """
    source, folder = Path(report_dir), Path(folder)
    metrics = read_json(source / "metrics.json")
    if "comparison" not in metrics or "settings" not in metrics:
        raise ValueError(
            f"`report_dir` must be a folder written by scripts/evaluate.py, got {str(report_dir)!r}, without its "
            "metrics.json: evaluate the model first."
        )
    own, settings = folder_fingerprint(folder), metrics["settings"]
    measured = settings.get("fingerprint")
    adapter = (folder / ADAPTER_WEIGHTS_NAME).is_file()  # measured with what it adapts
    stored = None if adapter else stored_fingerprints(folder)
    if measured is not None and stored is not None and not fingerprints_agree([str(measured)], stored):
        raise ValueError(
            f"`report_dir` must be a report on the weights in {str(folder)!r}, got {str(report_dir)!r} on others: "
            "evaluate the model again."
        )
    pictures = sorted(path.name for path in source.glob("*.png"))
    if "pictures" in metrics:  # others are of an earlier report in the same folder, perhaps of another model
        pictures = [name for name in pictures if name in metrics["pictures"]]
    shutil.rmtree(folder / FIGURES, ignore_errors=True)
    for name in [*pictures, *([REPORT] if (source / REPORT).is_file() else [])]:
        (folder / FIGURES).mkdir(exist_ok=True)
        replace_file(folder / FIGURES / name, (source / name).read_bytes())
    kept = ("language_model", "calibration", "real_text")
    cells = {
        strategy: {budget: cell and {"figures": cell["figures"]} for budget, cell in row.items()}
        for strategy, row in metrics["comparison"].items()
    }
    names = ("task", "split", "num_judged", "num_samples", "seeds", "tuning_seed", "dtype", "num_parameters")
    record(
        folder,
        "evaluation",
        {
            **{name: metrics[name] for name in kept if name in metrics},
            "fingerprint": own,
            "comparison": cells,
            "settings": {name: settings[name] for name in names if name in settings},
            "pictures": pictures,
        },
    )
