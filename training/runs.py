# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a run is, so that a checkpoint can be told from that of another one, and what a change to it does on resuming.

A run is its data, its tokenizer, its model and those arguments that decide over the weights. Each checkpoint holds
them in `run.json`.
"""

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from transformers.trainer_utils import has_length

from critic_gpt.training.callbacks import UnfreezeCallback


# Rows, evenly spaced, by which data are known; of a stream the first ones.
_ROWS, _ROWS_OF_A_STREAM = 1024, 16

# Fields of the model's configuration that say nothing about the run, and those that may change while it lasts: they
# decide over losses and dropout, not over what the weights are.
_IDLE_FIELDS = (
    *("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "auto_map"),
    *("custom_pipelines", "initializer_range", "regression_scale_init", "use_cache", "generation"),
)
_LOSS_FIELDS = (
    *("critic_alpha", "critic_regime", "critic_fill", "critic_target_scope", "critic_fill_exponent", "critic_detach"),
    *("correction_alpha", "remaining_alpha", "leave_one_out_alpha", "joint_alpha"),
    *("hidden_dropout", "attention_dropout", "balanced_class_weights"),
)

# Arguments that take effect from the checkpoint on.
_EFFECTIVE = (
    *("max_steps", "num_train_epochs", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio"),
    *("max_grad_norm", "critic_warmup_start", "critic_warmup_end", "critic_batch_share", "min_mask_rate"),
    *(
        "joint_batch_share",
        "stratified_times",
        "masking",
        "ema_decay",
        "bf16",
        "fp16",
        "loss_modifiers",
        "unfreeze_step",
    ),
)
# Those whose old value is read from the checkpoint: by the optimizer and its schedule, or as the trainer's state.
_KEPT = (
    *("learning_rate", "muon_learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("unfreeze_lr_multiplier", "logging_steps", "eval_steps", "save_steps"),
)
# Those that decide which rows were seen: with others some would be seen twice, some never.
_POSITION = ("seed", "data_seed", "rows per step", "dataloader_drop_last", "train_sampling_strategy")
# Those that the optimizer's state, or the best metric so far, does not fit.
_FIXED = ("optim", "optim_args", "metric_for_best_model", "greater_is_better")


def _plain(value: Any) -> Any:
    """A value as it is read from JSON."""

    def other(value):
        return value.tolist() if hasattr(value, "tolist") else str(getattr(value, "value", type(value).__name__))

    return json.loads(json.dumps(value, default=other, sort_keys=True))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()[:32]


def _data(dataset) -> dict[str, Any]:
    """Number and digest of the rows; `None` for what cannot be known without taking rows away from the training."""
    if isinstance(dataset, datasets.IterableDataset):
        return {"rows": None, "digest": _digest(list(islice(iter(dataset), _ROWS_OF_A_STREAM)))}
    if dataset is None or not has_length(dataset):
        return {"rows": None, "digest": None}
    count = len(dataset)
    indices = sorted({index * (count - 1) // (_ROWS - 1) for index in range(_ROWS)})
    first, second = (_digest([dataset[index] for index in indices]) for _ in range(2))
    return {"rows": count, "digest": first if first == second else None}  # rows may be drawn anew each time


def _tokenizer(tokenizer) -> str | None:
    if not hasattr(tokenizer, "get_vocab"):
        return None
    return _digest([sorted(tokenizer.get_vocab().items()), sorted(tokenizer.all_special_ids)])


def _arguments(trainer) -> dict[str, Any]:
    args = trainer.args
    named = (*_EFFECTIVE, *_KEPT, *_POSITION, *_FIXED)
    found = {name: getattr(args, name) for name in named if hasattr(args, name)}
    found["rows per step"] = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    found["rows per step"] *= max(args.n_gpu, 1)
    if found["masking"] is not None and Path(found["masking"]).is_file():
        content = hashlib.sha256(Path(found["masking"]).read_bytes()).hexdigest()
        found["masking"] = f"{found['masking']} ({content[:8]})"
    unfreezing = [one for one in trainer.callback_handler.callbacks if isinstance(one, UnfreezeCallback)]
    found["unfreeze_step"] = unfreezing[0].step if unfreezing else None
    found["unfreeze_lr_multiplier"] = unfreezing[0].lr_multiplier if unfreezing else None
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    found["loss_modifiers"] = (
        None
        if trainer.loss_modifiers is None
        else [
            [type(one).__name__, {name: value for name, value in vars(one).items() if isinstance(value, plain)}]
            for one in getattr(trainer.loss_modifiers, "modifiers", [trainer.loss_modifiers])
        ]
    )
    return found


def describe_run(trainer) -> dict[str, Any]:
    """
    What a trainer is about to train, as its checkpoints say it.

    Args:
        trainer ([`ExactTrainer`]): Before its training.
    """
    trained = sorted(name for name, weight in trainer.model.named_parameters() if weight.requires_grad)
    run = {
        "data": _data(trainer.train_dataset),
        "tokenizer": _tokenizer(trainer.processing_class),
        "model": model_fields(trainer._config.to_dict()),
        "trained weights": _digest(trained),
        "arguments": _arguments(trainer),
    }
    return _plain(run)


def model_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a configuration, as `config.json` has them, that belong to a run."""
    return {name: value for name, value in config.items() if name not in _IDLE_FIELDS}


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [name for name in old if name in new and old[name] != new[name]]


def other_run(old: dict[str, Any], new: dict[str, Any], anew: bool = False) -> str | None:
    """
    What makes a checkpoint that of another run, as the end of a sentence; `None` where nothing does.

    Args:
        old (`dict`): The checkpoint's run, or those parts of it that are known.
        new (`dict`): The run that is to go on.
        anew (`bool`, *optional*, defaults to `False`): Whether the data begin anew, wherever the checkpoint stands.
    """
    data = [name for name in _differing(old.get("data", {}), new["data"]) if None not in (old["data"][name],)]
    if data and not (data == ["digest"] and new["data"]["digest"] is None):
        rows = old["data"]["rows"], new["data"]["rows"]
        return f"other data ({rows[0]} rows, now {rows[1]})" if rows[0] != rows[1] else "other data"
    if old.get("tokenizer") is not None and old["tokenizer"] != new["tokenizer"]:
        return "another tokenizer"
    if old.get("model", {}).get("model_type", "critic_gpt") != new["model"]["model_type"]:
        return "another kind of model"
    before, now = old.get("model", {}), new["model"]
    for name in _differing(before, now):
        if name not in _LOSS_FIELDS:
            return f"another model (`{name}` {before[name]!r}, now {now[name]!r})"
    if old.get("trained weights", new["trained weights"]) != new["trained weights"]:
        return "other weights that are trained"
    before, now = old.get("arguments", {}), new["arguments"]
    for name in _differing(before, now):
        switched = name == "muon_learning_rate" and None in (before[name], now[name])
        best = name in ("metric_for_best_model", "greater_is_better") and before[name] is None
        if switched or (name in _FIXED and not best) or (name in _POSITION and not anew):
            return f"`{name}` {before[name]!r}, now {now[name]!r}"
    return None


def changes(old: dict[str, Any], new: dict[str, Any], step: int) -> tuple[dict[str, Any], list[str], list[str]]:
    """
    What becomes of arguments that are not those of the checkpoint.

    Args:
        old, new (`dict`): As for [`other_run`], of one run.
        step (`int`): That of the checkpoint.

    Returns:
        `tuple`: The run that goes on; a sentence per changed argument that takes effect; and per one that does not.
    """
    effective, idle, kept = [], [], dict(new["arguments"])
    for part in ("model", "arguments"):
        before, now = old.get(part, {}), new[part]
        for name in _differing(before, now):
            if name in _KEPT:
                kept[name] = before[name]
                idle.append(
                    f"`{name}` stays {before[name]!r}, which the checkpoint holds, and {now[name]!r} has no effect: "
                    "for a new value begin a new run with the checkpoint's weights."
                )
            else:
                effective.append(f"`{name}` is {now[name]!r} from step {step} on, where it was {before[name]!r}.")
    return {**new, "arguments": kept}, effective, idle
