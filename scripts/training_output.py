# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Where `scripts/train.py` begins or goes on, and what it leaves alone in its output folder."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from critic_gpt import CriticTrainingArguments
from critic_gpt.hub.files import locked
from critic_gpt.hub.moving import CRITIC_HEAD_NAME, SAVED, WEIGHTS
from critic_gpt.scripts import check_output_dir
from critic_gpt.scripts.training_flags import RunArguments
from critic_gpt.training.base_trainer import ExactTrainer
from critic_gpt.training.checkpoints import checkpoints_in, last_complete_checkpoint


def _occupied(folder: str) -> str | None:
    """What a new training in a folder would replace."""
    if any(WEIGHTS.fullmatch(path.name) or path.name == SAVED for path in _content(folder)):
        return "a model"
    if any(path.name == CRITIC_HEAD_NAME for path in _content(folder)):
        return "a critic"
    if any(path.name.startswith("adapter_model.") for path in _content(folder)):
        return "an adapter"
    checkpoints = checkpoints_in(folder)
    return checkpoints[0].name if checkpoints else None


def _content(folder: str) -> list[Path]:
    return list(Path(folder).iterdir()) if Path(folder).is_dir() else []


def _check_free(run: RunArguments, args: CriticTrainingArguments) -> None:
    found = _occupied(args.output_dir)
    if found is not None and not run.overwrite_output_dir:
        raise ValueError(
            f"`output_dir` must hold no model and no checkpoint of another run, got {args.output_dir!r} with {found}: "
            "go on with --resume_from_checkpoint auto, choose another folder, or give --overwrite_output_dir True."
        )


def check_output(run: RunArguments, args: CriticTrainingArguments) -> None:
    """Refuses, before the work, a folder whose content a new run would replace."""
    check_output_dir("output_dir", args.output_dir)
    checkpoint = args.resume_from_checkpoint
    if checkpoint is not None and run.overwrite_output_dir:
        raise ValueError(
            f"`overwrite_output_dir` must be left out beside `resume_from_checkpoint`, got {checkpoint!r}: go on, or "
            "begin anew."
        )
    if checkpoint == "auto":
        return
    if checkpoint is not None:
        if not os.path.isdir(checkpoint):
            raise ValueError(
                f"`resume_from_checkpoint` must be auto or the folder of a checkpoint, got {checkpoint!r}: look for "
                f"checkpoint-* in {args.output_dir}."
            )
        if Path(checkpoint).resolve().parent == Path(args.output_dir).resolve():
            return
    _check_free(run, args)


@contextmanager
def alone_in(folder: str, writer: bool) -> Iterator[None]:
    """
    Keeps other trainings out of an output folder. Where the file system knows no locks, nobody is kept out.

    Args:
        folder (`str`): The folder.
        writer (`bool`): Whether this process is the one of its training that writes.

    Raises:
        `TimeoutError`: Another training writes there.
    """
    with ExitStack() as stack:
        if writer:
            os.makedirs(folder, exist_ok=True)
            try:
                stack.enter_context(locked(Path(folder, "training"), timeout=0))
            except TimeoutError:
                raise
            except OSError:
                pass
        yield


def checkpoint_to_resume(trainer: ExactTrainer, run: RunArguments) -> str | None:
    """
    The checkpoint that `--resume_from_checkpoint` asks for, or `None` to begin at the beginning. Checkpoints in a
    folder that may be overwritten are removed then, so that none of them is ever taken for one of the new run.
    """
    args = trainer.args
    checkpoint = args.resume_from_checkpoint
    if checkpoint == "auto":
        checkpoint = trainer.find_checkpoint()
        # Of checkpoints that are all damaged nothing is lost by beginning anew; a finished model would be.
        if checkpoint is None and not (_occupied(args.output_dir) or "").startswith(PREFIX_CHECKPOINT_DIR):
            _check_free(run, args)
    elif checkpoint is not None:
        trainer.check_checkpoint(checkpoint)
    elif run.overwrite_output_dir and trainer.is_world_process_zero():
        for path in checkpoints_in(args.output_dir):
            shutil.rmtree(path)
    trainer.accelerator.wait_for_everyone()
    return checkpoint


def how_to_go_on(trainer: ExactTrainer, argv: list[str]) -> str:
    """What an interrupted training says: what is kept of it, and the command that goes on."""
    checkpoint = last_complete_checkpoint(trainer.args.output_dir)
    kept = "no checkpoint was written before" if checkpoint is None else f"{Path(checkpoint).name} is whole"
    words, left = [], iter(argv)
    for word in left:
        if word.partition("=")[0] in ("--resume_from_checkpoint", "--overwrite_output_dir"):
            if "=" not in word:
                next(left, None)
        else:
            words.append(word)
    script = sys.argv[0] if Path(sys.argv[0]).name == "train.py" else "scripts/train.py"
    command = shlex.join(["python", script, *words, "--resume_from_checkpoint", "auto"])
    launched = " (launched as before)" if trainer.args.world_size > 1 else ""
    return f"interrupted after step {trainer.state.global_step}; {kept}. Go on{launched} with: {command}"
