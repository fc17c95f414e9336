# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Thin entry points; their names are the acts: prepare_data, train, calibrate, generate, evaluate.

What they share stands here: how an error reaches somebody at a terminal, and how a model is met with its data.
"""

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassError
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import Pipeline, PreTrainedTokenizerBase, pipeline
from transformers.utils.peft_utils import find_adapter_config_file

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.backbones.description import Backbone
from critic_gpt.explorer.drawing import visible_text
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.vocabulary import check_same_vocabulary, tokenizer_beside
from critic_gpt.scripts.any_model import is_other_model, load_other_model
from critic_gpt.training.launching import check_processes_met


# Exit code of a program that Ctrl-C has ended, by the custom of shells.
INTERRUPTED = 130


def one_line(error: BaseException) -> str:
    """An error as one line, whatever library wrote it and whatever file it quotes."""
    if isinstance(error, StrictDataclassClassValidationError):
        error = error.__cause__ or error  # the sentence of our own that it wraps
    return visible_text(" ".join(str(error).split()))


def run_as_program(main: Callable, name: str, status_of: Callable[[Any], int] | None = None) -> None:
    """
    Runs a script's `main`. What the user can mend ends as one line on stderr and exit code 1 (2 with `status_of`),
    Ctrl-C as one line and exit code 130, all else as a traceback.
    Characters that stdout cannot encode are printed as escapes (`\\u4e2d`) and end nothing.

    Args:
        main (callable): Called without arguments.
        name (`str`): The script, at the head of the line.
        status_of (callable, *optional*): The exit code by what `main` returns; else it is 0.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # stderr does so of itself
    try:
        result = main()
    except (StrictDataclassError, SafetensorError, ValueError, OSError, ImportError) as error:
        line = f"{name}: {one_line(error)}"
        if status_of is None:
            sys.exit(line)
        print(line, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        leave_interrupted(f"{name}: {one_line(stop) or 'interrupted; what was saved before is as it was.'}")
    leave_together()
    if status_of is not None and (status := status_of(result)):
        sys.exit(status)


def say(line: str) -> None:
    """Prints a line that may hold names of files, on which no terminal acts."""
    print(visible_text(line))


def leave_interrupted(line: str) -> None:
    """Ends what Ctrl-C has interrupted: one line, and the exit code of shells for it. The other processes end too."""
    if sys.stderr.isatty():
        print(file=sys.stderr)  # below a progress bar
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # the others cannot be waited for
    sys.exit(INTERRUPTED)


def leave_together() -> None:
    """
    Ends one of several processes when all are done, without taking anything down: about once in thirty runs torch's
    gloo threads abort when the interpreter ends, after all is saved and said, and launchers call that a failure.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def check_at_least(least: int, **values: int) -> None:
    """Refuses whole numbers below `least`, by the names of their flags."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}: give {least} or more.")


def check_output_dir(field: str, path: str | os.PathLike) -> None:
    """Refuses, before the work, a folder that its results could not be written into."""
    folder = Path(path)
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "may not be written to" if nearest.is_dir() else "is a file"
        reason = reason if nearest.exists() else "links to nothing"
        raise ValueError(
            f"`{field}` must be a folder to write into, got {str(path)!r}, where {str(nearest)!r} {reason}: choose "
            "another one."
        )


def check_output_file(field: str, path: str | os.PathLike) -> None:
    """Refuses, before the work, a file that its results could not be written to."""
    if Path(path).is_dir():
        raise ValueError(f"`{field}` must be a file to write, got the folder {str(path)!r}: name a file in it.")
    check_output_dir(field, Path(path).parent)


def check_split(name: str, dataset, least: int = 1) -> None:
    """Refuses a split of fewer sequences than `least`."""
    if len(dataset) < least:
        wanted = "one sequence" if least == 1 else f"{least} sequences"
        raise ValueError(
            f"`split` must hold at least {wanted}, got {name!r} with {len(dataset) or 'none'}: choose another one."
        )


def check_judged(field: str, count: int, sequence_index, least: int) -> None:
    """Refuses a measurement in which fewer than `least` of the `count` sequences of a flag had anything to judge."""
    found = len(set(sequence_index.tolist()))
    if found < least:
        raise ValueError(
            f"`{field}` must give at least {least} sequences with tokens for the critic to judge, got {count} of "
            f"which {found} have any: ask for more, and check that [MASK] stands in them where there is a truth."
        )


def start_accelerator() -> Accelerator:
    """
    Meets the other processes, if any. What there is to warn of is said once, by the main one.

    Raises:
        `ValueError`: They were launched in a way that lets each work alone.
    """
    accelerator = Accelerator()
    check_processes_met(accelerator.num_processes)
    if not accelerator.is_main_process:
        logging.getLogger("critic_gpt").setLevel(logging.ERROR)
    return accelerator


def progress_bar(total: int, unit: str, accelerator: Accelerator) -> tqdm:
    """A bar on stderr where that is a terminal, on the main process; nothing elsewhere."""
    return tqdm(total=total, unit=unit, disable=None if accelerator.is_main_process else True)


def load_model(
    field: str,
    path: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    sequence_length: int | None = None,
    variant: str | None = None,
    dtype: str | None = None,
) -> CriticGPTForMaskedLM:
    """
    Loads the masked language model of a path or hub name.

    Args:
        field (`str`): Name of the argument that holds the path, for errors.
        path (`str`): Folder or hub name, of a model or of an adapter of PEFT for one.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): That of prepared data, whose tokens the
            model must then know.
        sequence_length (`int`, *optional*): That of the data; goes with `tokenizer`.
        variant (`str`, *optional*): Of the weights' file, `model.VARIANT.safetensors`.
        dtype (`str`, *optional*): Precision of the weights, `"bfloat16"` for instance; by default that of the file.

    Raises:
        `ValueError`: No model there, one with another head, or one of other data.
    """
    try:
        other = is_other_model(_below_adapter(path))
        if other:
            model = load_other_model(field, path, variant, dtype)
        else:
            check_class(field, path, CriticGPTConfig.get_config_dict(_below_adapter(path))[0])
            model = CriticGPTForMaskedLM.from_pretrained(path, variant=variant, dtype=dtype or "auto")
    except (OSError, SafetensorError) as error:  # missing, or damaged
        raise ValueError(
            f"`{field}` must be the folder or hub name of a model, got {path!r}, which did not load "
            f"({one_line(error).rstrip('.')}): train one with scripts/train.py."
        ) from error
    model.check_whole(field, path)
    if tokenizer is not None:
        check_fits(field, model, tokenizer, sequence_length)
    return model


def load_pipeline(task: str, path: str, device: torch.device | None = None) -> Pipeline:
    """
    The pipeline of a task for `--model`.

    Args:
        task (`str`): Its name.
        path (`str`): Folder or hub name.
        device (`torch.device`, *optional*): Where it works; left to Transformers by default.

    Raises:
        `ValueError`: No model there, or a damaged one.
    """
    model = load_model("model", path)  # by our own classes, of whose refusals `pipeline` would show the traceback
    places = dict.fromkeys([path, _below_adapter(path), model.name_or_path])
    tokenizer = next((found for place in places if (found := tokenizer_beside(place)) is not None), None)
    if tokenizer is None:
        raise ValueError(
            f"`model` must have its tokenizer beside it, got {path!r} without one: save it there with "
            "`tokenizer.save_pretrained`."
        )
    return pipeline(task, model=model, tokenizer=tokenizer, **({} if device is None else {"device": device}))


def _below_adapter(path: str) -> str:
    """The model that an adapter of PEFT in `path` was made for; `path` itself where there is none."""
    found = find_adapter_config_file(path)
    if found is None or Path(path, "config.json").is_file():
        return path
    return read_object(found).get("base_model_name_or_path") or path


def check_type(field: str, path: str, config: dict[str, Any]) -> None:
    """Refuses what is no model of ours, which would load with weights that nobody trained."""
    kind = config.get("model_type", CriticGPTConfig.model_type)
    if kind != CriticGPTConfig.model_type:
        raise ValueError(f"`{field}` must be a critic_gpt model, got {path!r} of type {kind!r}: choose another one.")


def check_class(field: str, path: str, config: dict[str, Any]) -> None:
    """Refuses what is no masked language model of ours, which would load with heads that nobody trained."""
    check_type(field, path, config)
    for name in config.get("architectures") or []:
        if name in ("CriticGPTForTokenClassification", "CriticGPTForSequenceClassification"):
            raise ValueError(
                f"`{field}` must be a masked language model, got {path!r}, a {name}: scripts/train.py measures such "
                "models itself, with the same --task that trained them."
            )


def check_fits(field: str, model, tokenizer: PreTrainedTokenizerBase, sequence_length: int) -> None:
    """Refuses a model that does not know the data's tokens or is too short for its sequences."""
    config = model.config
    way_out = "take the data it was trained on, or prepare data with its own tokenizer (--tokenizer)."
    backbone = Backbone.of(config)
    if backbone.vocab_size < len(tokenizer) or config.mask_token_id != tokenizer.mask_token_id:
        raise ValueError(
            f"`{field}` must know the data's {len(tokenizer)} tokens and its [MASK] {tokenizer.mask_token_id}, got a "
            f"model of {backbone.vocab_size} tokens with [MASK] {config.mask_token_id}: {way_out}"
        )
    longest = backbone.max_text_length
    if longest is not None and longest < sequence_length:
        raise ValueError(
            f"`{field}` must take sequences of {sequence_length} tokens as the data has them, got a model for "
            f"{longest}: take the data it was trained on, or prepare shorter sequences "
            "(--sequence_length)."
        )
    if model.name_or_path:  # a new model has no tokenizer of its own
        check_same_vocabulary(field, model.name_or_path, tokenizer)
