# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How the flags of `scripts/train.py` become precision, labels and a model."""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import pyarrow
import pyarrow.compute
import torch
from datasets import Dataset
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, PreTrainedConfig, Trainer, TrainerCallback

from critic_gpt import (
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticTrainingArguments,
)
from critic_gpt.hub.looking import look_at_folder
from critic_gpt.scripts import check_class, check_fits, check_type, one_line
from critic_gpt.scripts.any_model import with_critic
from critic_gpt.scripts.training_flags import FIELDS_OF_HEAD, NEW_MODEL, ModelArguments, RunArguments
from critic_gpt.training.like_lengths import row_lengths


# Width of a model from which bf16 autocast pays on processors that multiply in bf16. Time of a whole training step in
# fp32 over that in bf16, taken in turns, 4 blocks, 32 x 128 tokens, torch 2.13, one thread, median of pairs. With AMX
# tiles (2026-11-22): width 128: 1.04, 256: 1.96, 384: 2.14, 512: 2.96; on two threads at width 128: 0.88. With AVX-512
# alone (2026-11-29): width 128: 1.46, 256: 1.90; at 64 x 36 tokens 1.17 and 1.76.
BF16_CPU_WIDTH = 256
# Rows looked at to learn how much of a batch is padding, and from which share on that is worth a line.
PADDING_SAMPLE, MUCH_PADDING = 4096, 0.1


# --------------------------------------------------------------------------------------------------------------------
# Precision
# --------------------------------------------------------------------------------------------------------------------


def bf16_is_fast(hidden_size: int) -> bool:
    """Whether bfloat16 makes training a model of this width faster here."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    here = torch.cpu.get_capabilities()
    return any(here.get(name, False) for name in ("amx_bf16", "avx512_bf16")) and hidden_size >= BF16_CPU_WIDTH


def base_config(path: str) -> PreTrainedConfig:
    """The configuration of the model to begin with, whoever made it."""
    look_at_folder(path)
    try:
        entries = CriticGPTConfig.get_config_dict(path)[0]
    except OSError as error:
        raise ValueError(
            f"`model_name_or_path` must be the folder or hub name of a model, got {path!r}, which did not load "
            f"({one_line(error).rstrip('.')}): train one, or leave it out."
        ) from error
    if entries.get("model_type", CriticGPTConfig.model_type) != CriticGPTConfig.model_type:
        return AutoConfig.from_pretrained(path)
    return CriticGPTConfig.from_pretrained(path)


def precision_flags(argv: list[str], model_arguments: ModelArguments, precision: str) -> list[str]:
    """The flags of `CriticTrainingArguments` that bring a precision about."""
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"`precision` must be auto, fp32 or bf16, got {precision!r}: choose one of these.")
    own = [word for word in argv if word.split("=")[0] in ("--bf16", "--fp16", "--no_bf16")]
    if own:
        if precision != "auto":
            raise ValueError(f"`precision` must be auto beside {own[0]}, got {precision!r}: give one of the two.")
        return []
    if precision == "auto":
        path, width = model_arguments.model_name_or_path, model_arguments.hidden_size or NEW_MODEL["hidden_size"]
        if path is not None:
            width = getattr(base_config(path).get_text_config(), "hidden_size", 0)
        precision = "bf16" if bf16_is_fast(width) else "fp32"
    if precision == "fp32":
        return []
    return ["--bf16", "True"] + ([] if torch.cuda.is_available() else ["--use_cpu", "True"])


def warn_of_idle_cores(args: CriticTrainingArguments) -> None:
    """On a CPU `accelerate launch` gives each process one thread unless told otherwise: half the speed, or worse."""
    threads, cores = torch.get_num_threads() * args.world_size, os.cpu_count() or 1
    if args.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1" and threads < cores:
        print(
            f"Training on {threads} of {cores} CPU cores, since OMP_NUM_THREADS is 1: unset it, or give accelerate "
            f"launch --num_cpu_threads_per_process {cores // args.world_size}."
        )


def warn_of_padding(rows, args: CriticTrainingArguments) -> None:
    """Rows of many lengths, drawn at random, are brought to the longest of their batch: a pass then reads padding."""
    if args.train_sampling_strategy != "random" or not isinstance(rows, Dataset):
        return
    size = min(args.per_device_train_batch_size, len(rows))
    batches = numpy.random.default_rng(0).integers(len(rows), size=(PADDING_SAMPLE // size + 1, size))
    lengths = numpy.reshape(row_lengths(rows.select(batches.flatten())), batches.shape)
    padding = 1.0 - lengths.sum() / (lengths.max(axis=1).sum() * size)
    if padding >= MUCH_PADDING:
        print(
            f"{padding:.0%} of what is read is padding, since rows differ in length: "
            "--train_sampling_strategy group_by_length brings rows of like length together."
        )


# --------------------------------------------------------------------------------------------------------------------
# Divergence
# --------------------------------------------------------------------------------------------------------------------


def check_weights(trainer) -> None:
    """Refuses weights that are NaN or infinite on any process, before anything of them is saved."""
    parameters = (parameter.detach() for parameter in trainer.model.parameters())
    local = (tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in parameters)
    broken = torch.tensor(sum(not bool(tensor.isfinite().all()) for tensor in local), device=trainer.args.device)
    if int(trainer.accelerator.reduce(broken, reduction="sum")):
        raise ValueError(
            f"`learning_rate` must keep training stable, got {trainer.args.learning_rate:g}, with which it diverged: "
            f"weights are not finite after step {trainer.state.global_step}, and these are not saved. Lower it, or "
            "raise --warmup_steps."
        )


class StopWhereDiverged(TrainerCallback):
    """Ends a training that has diverged before it writes a checkpoint; the checkpoints before that one are sound."""

    trainer: Trainer  # given once it is built, since it is built with its callbacks

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save:
            check_weights(self.trainer)


def check_bound(metrics: dict[str, float], folder: str) -> None:
    """Refuses finite weights with a loss that is not, and takes them out of the folder, where they looked sound."""
    loss = metrics.get("eval_loss", 0.0)
    if math.isfinite(loss):
        return
    for path in Path(folder).glob("model*.safetensors"):
        path.unlink(missing_ok=True)
    raise ValueError(
        f"`learning_rate` must keep training stable, got a loss of {loss} on validation data: it diverged, and its "
        f"weights were removed from {folder}. Lower it, or raise --warmup_steps."
    )


# --------------------------------------------------------------------------------------------------------------------
# Labels
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """Where the labels of a head are, how many classes they name (1: scores), and whether as probabilities."""

    column: str
    num_labels: int
    soft: bool = False


def read_labels(splits, task: str, num_labels: int | None, folder: str | os.PathLike) -> Labels:
    """Finds the labels of a task in prepared data, and refuses those that cannot be learnt."""
    names = splits["train"].column_names
    if task == "token_classification":
        column, wanted = "labels", "`labels`"
    else:
        column, wanted = "label" if "score" not in names or (num_labels or 1) > 1 else "score", "`score` or `label`"
    for split, dataset in splits.items():
        if column not in dataset.column_names:
            raise ValueError(
                f"`task` must be one that the data has labels for, got {task} and {str(Path(folder, split))!r} "
                f"without the column {wanted}: make such data with scripts/prepare_data.py --task fillings, or add it."
            )
    columns = [dataset.data.column(column) for dataset in splits.values()]
    if any(values.null_count for values in columns):
        raise ValueError(f"`{column}` must be given in every row, got some without: add them, or drop these rows.")
    if column == "score":
        _check_range(column, columns, 0.0, 1.0, "give shares in [0, 1]")
        if num_labels not in (None, 1):
            raise ValueError(f"`num_labels` must be 1 for scores, got {num_labels}: leave it out.")
        return Labels(column, 1)
    soft = False
    if column == "labels":
        columns = [pyarrow.compute.list_flatten(values) for values in columns]
        soft = pyarrow.types.is_nested(columns[0].type)
    found = _num_classes(column, columns, soft)
    if num_labels is not None and num_labels < found:
        raise ValueError(
            f"`num_labels` must be at least the {found} classes of the data, got {num_labels}: leave it out."
        )
    num_labels = num_labels or found
    if num_labels < 2 or (soft and num_labels != found):
        raise ValueError(
            f"`num_labels` must be {found if soft else 'at least 2'} for these labels, got {num_labels}: "
            f"{'leave it out' if soft else 'give data with two classes'}."
        )
    return Labels(column, num_labels, soft)


def _num_classes(column: str, columns: list[pyarrow.ChunkedArray], soft: bool) -> int:
    if soft:
        widths = {
            width for values in columns for width in pyarrow.compute.list_value_length(values).unique().to_pylist()
        }
        if len(widths) != 1:
            raise ValueError(
                f"`{column}` must give every token as many probabilities, got {sorted(widths)} of them: give "
                "one a class."
            )
        _check_range(column, [pyarrow.compute.list_flatten(values) for values in columns], 0.0, 1.0, "normalise them")
        return widths.pop()
    if not pyarrow.types.is_integer(columns[0].type):
        raise ValueError(
            f"`{column}` must hold whole numbers or, a token, lists of probabilities, got {columns[0].type}: "
            "convert it."
        )
    ignored = pyarrow.array([-100, -1], columns[0].type)
    if column == "labels":
        columns = [values.filter(pyarrow.compute.invert(pyarrow.compute.is_in(values, ignored))) for values in columns]
    _check_range(column, columns, 0, None, "give classes from 0 on" + (", or -100 to ignore" * (column == "labels")))
    highest = [pyarrow.compute.max(values).as_py() for values in columns if len(values)]
    return 1 + max(highest, default=0)


def _check_range(column: str, columns: list[pyarrow.ChunkedArray], least, most, way_out: str) -> None:
    """Refuses values outside of [least, most], and NaN."""
    for values in columns:
        if not len(values):
            continue
        bounds = pyarrow.compute.min_max(values).as_py()
        missing = values.null_count or (pyarrow.types.is_floating(values.type) and _any_nan(values))
        if missing or bounds["min"] < least or (most is not None and bounds["max"] > most):
            got = "missing ones" if missing else f"{bounds['min']} to {bounds['max']}"
            raise ValueError(
                f"`{column}` must hold numbers from {least}{'' if most is None else f' to {most}'}, got {got}: "
                f"{way_out}."
            )


def _any_nan(values: pyarrow.ChunkedArray) -> bool:
    return bool(pyarrow.compute.any(pyarrow.compute.is_nan(values)).as_py())


# --------------------------------------------------------------------------------------------------------------------
# Model
# --------------------------------------------------------------------------------------------------------------------


def model_class(run: RunArguments):
    """The class of a task's models."""
    return {
        "language_model": CriticGPTForMaskedLM,
        "token_classification": CriticGPTForTokenClassification,
        "sequence_scoring": CriticGPTForSequenceClassification,
    }[run.task]


def build_model(arguments: ModelArguments, run: RunArguments, tokenizer, sequence_length: int, labels: Labels | None):
    """A new model of the given shape, or a trained one with what the flags of this run change about it."""
    fields = {name: value for name, value in asdict(arguments).items() if value is not None}
    path, cls = fields.pop("model_name_or_path", None), model_class(run)
    if labels is not None:
        fields["num_labels"] = labels.num_labels
    if path is None:
        special = {
            f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("mask", "pad", "bos", "eos")
        }
        if "rope_theta" in fields:
            fields["rope_parameters"] = {"rope_type": "default", "rope_theta": fields.pop("rope_theta")}
        fields = {"max_position_embeddings": sequence_length, **NEW_MODEL, **special, **fields}
        model = cls(CriticGPTConfig(vocab_size=len(tokenizer), **fields))
    else:
        config = base_config(path)
        if labels is None and config.model_type != CriticGPTConfig.model_type:
            model = with_critic(path, fields, run.freeze_trunk, run.untie, tokenizer)
            check_fits("model_name_or_path", model, tokenizer, sequence_length)
            return model
        check_type("model_name_or_path", path, config.to_dict())
        if labels is not None:
            fields |= _fields_of_head(path, config, cls, arguments, labels)
        else:
            check_class("model_name_or_path", path, config.to_dict())
        model = cls.from_pretrained(path, **fields)
        model.check_whole("model_name_or_path", path)
    check_fits("model_name_or_path" if path else "max_position_embeddings", model, tokenizer, sequence_length)
    if labels is not None and labels.soft and model.config.balanced_class_weights:
        raise ValueError(
            "`balanced_class_weights` must be False with labels that are probabilities, got True: there are no "
            "classes to count."
        )
    for head, fields_of_head in FIELDS_OF_HEAD.items():
        idle = [name for name in fields_of_head if name in fields] if labels is None else []
        if idle and not getattr(model.config, head):
            raise ValueError(
                f"`{idle[0]}` must be left out for a model without its head, got {fields[idle[0]]!r}: give --{head} "
                "True as well, or leave it out."
            )
    if run.freeze_trunk:
        model.freeze_trunk(untie=run.untie)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            "`freeze_trunk` must leave something to train, got a tied LM head and no other: give --add_critic_head "
            "True, --add_joint_head True or --untie True."
        )
    return model


def _fields_of_head(
    path: str, config: CriticGPTConfig, cls: type, arguments: ModelArguments, labels: Labels
) -> dict[str, bool | int]:
    """What a trained model's configuration says about its head, where it has the one of this task already."""
    num_labels = labels.num_labels
    if cls.__name__ in (config.architectures or []):
        asked = arguments.num_labels or config.num_labels
        if asked != config.num_labels or num_labels > asked or (num_labels == 1) != (asked == 1):
            raise ValueError(
                f"`num_labels` must be the {config.num_labels} of the model {path!r}, got {num_labels}: begin with "
                "the language model instead, or with fitting data."
            )
        num_labels = config.num_labels
    # The critic and the joint head of a language model stay behind.
    return {"num_labels": num_labels, "add_critic_head": False, "add_joint_head": False}
