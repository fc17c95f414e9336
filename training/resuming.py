# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Trainings that go on from checkpoints of their own that are whole, say what a change does, and end when done."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from critic_gpt.calibration.fingerprint import ADAPTER_WEIGHTS_NAME
from critic_gpt.hub.documents import read_json
from critic_gpt.hub.files import write_json
from critic_gpt.hub.moving import CRITIC_HEAD_NAME, finish_moving
from critic_gpt.training.checkpoints import MAX_STATE_BYTES, RUN_NAME, checkpoints_in, fault_of, uninterrupted
from critic_gpt.training.runs import changes, describe_run, model_fields, other_run
from critic_gpt.training.trainer_mixin import TrainerMixin


logger = logging.get_logger(__name__)

# Metrics that are left out where they do not exist: of right or wrong tokens alone, or of values that do not vary.
_SOMETIMES_ABSENT = ("critic_auroc", "critic_ece", "critic_brier", "auroc", "pearson")


def _load_parts(model: Any, folder: str | os.PathLike) -> bool:
    """
    Puts into a model what a checkpoint holds of it beside weights that do not change: a critic's head, an adapter.

    Args:
        model (`nn.Module`): Of the training.
        folder (`str` or `os.PathLike`): The checkpoint.

    Returns:
        `bool`: Whether that was all. Transformers sees to a whole model, and to an adapter in PEFT's own wrapper.
    """
    critic, adapter = Path(folder, CRITIC_HEAD_NAME).is_file(), Path(folder, ADAPTER_WEIGHTS_NAME)
    if critic:
        model.load_critic_head(folder)
    if not adapter.is_file():
        return critic
    if not getattr(model, "_hf_peft_config_loaded", False):
        return False
    peft = sys.modules["peft"]  # an extra, imported by whoever gave the model its adapter
    weights = {name.removeprefix("base_model.model."): weight for name, weight in load_file(adapter).items()}
    peft.set_peft_model_state_dict(model, weights, adapter_name=model.active_adapters()[0])
    return True


class ResumableTraining(TrainerMixin):
    """Mixin of a [`~transformers.Trainer`]: which checkpoint a training goes on from, and how."""

    # What is trained, as it stands in the checkpoints; none in a search for hyperparameters.
    _run: dict[str, Any] | None = None
    # Whether the checkpoint is the end of its run.
    _done = False

    # ---- which checkpoint ----

    def find_checkpoint(self) -> str | None:
        """
        The newest checkpoint in the output folder that is whole, or `None`. One that is not is passed over and named.

        Raises:
            `ValueError`: It is that of another run.
        """
        for checkpoint in checkpoints_in(self.args.output_dir):
            fault = fault_of(checkpoint)
            if fault is None:
                self._check_run(checkpoint)
                return str(checkpoint)
            self._say(f"{checkpoint} is passed over, {fault}.")
        return None

    def check_checkpoint(self, checkpoint: str | os.PathLike) -> None:
        """
        Refuses a checkpoint that is damaged, misses what a training goes on with, or is that of another run.

        Args:
            checkpoint (`str` or `os.PathLike`): Its folder.
        """
        if not os.path.isdir(checkpoint):
            raise ValueError(
                f"`resume_from_checkpoint` must be auto or the folder of a checkpoint, got {str(checkpoint)!r}: look "
                f"for checkpoint-* in {self.args.output_dir}."
            )
        if (fault := fault_of(checkpoint)) is not None:
            raise ValueError(
                f"`resume_from_checkpoint` must be a whole checkpoint, got {str(checkpoint)!r}, {fault}: take the one "
                "before, or begin a new run with its weights (--model_name_or_path)."
            )
        self._check_run(Path(checkpoint))

    def _known_run(self, checkpoint: Path) -> dict[str, Any]:
        """What a checkpoint holds about its run; of one that was written by others the model's configuration."""
        if (checkpoint / RUN_NAME).is_file():
            return read_json(checkpoint / RUN_NAME)
        if (checkpoint / "config.json").is_file():
            return {"model": model_fields(read_json(checkpoint / "config.json"))}
        return {}

    def _check_run(self, checkpoint: Path) -> None:
        if self._run is None:
            self._run = describe_run(self)
        difference = other_run(self._known_run(checkpoint), self._run, self.args.ignore_data_skip)
        if difference is not None:
            raise ValueError(
                f"`resume_from_checkpoint` must be a checkpoint of this run, got {str(checkpoint)!r} of another one, "
                f"with {difference}: repeat that run's flags, or begin a new one in another --output_dir, with these "
                "weights (--model_name_or_path) or without."
            )

    def _say(self, line: str) -> None:
        if self.is_world_process_zero():
            logger.warning(line)

    # ---- training ----

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial=None,
        ignore_keys_for_eval: list[str] | None = None,
    ):
        """
        As the parent's, from whole checkpoints of this run alone, and without a step where it was done already.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint; `True` for the last whole one in the
                output folder, `"auto"` for that or, where there is none, the beginning.
            trial, ignore_keys_for_eval (*optional*): As the parent's.

        Raises:
            `ValueError`: A checkpoint that is damaged, incomplete or that of another run.
        """
        finish_moving(self.args.output_dir)
        self._done = False
        self._run = None if trial is not None else describe_run(self)
        checkpoint: Any = resume_from_checkpoint
        if checkpoint in (True, "auto"):
            found = self.find_checkpoint()
            if found is None and checkpoint is True:
                raise ValueError(
                    f"`resume_from_checkpoint` must find a whole checkpoint in {self.args.output_dir!r}, got none: "
                    "begin at the beginning."
                )
            checkpoint = found
        elif checkpoint:
            self.check_checkpoint(checkpoint)
        if checkpoint:
            self._announce(Path(checkpoint))
        return super().train(checkpoint or None, trial, ignore_keys_for_eval)

    def _announce(self, checkpoint: Path) -> None:
        """Says, one line each, what has changed since a checkpoint."""
        if not (checkpoint / RUN_NAME).is_file():
            self._say(f"{checkpoint} holds no {RUN_NAME}: whether its data and arguments are those of now is unknown.")
        world_size, index = self.args.world_size, self.args.process_index
        if not (checkpoint / (f"rng_state_{index}.pth" if world_size > 1 else "rng_state.pth")).is_file():
            self._say(f"{checkpoint} is of another number of processes: dropout draws other numbers from here on.")
        if self.args.fp16 and not (checkpoint / "scaler.pt").is_file():
            self._say(f"{checkpoint} holds no scaler.pt: the scale of fp16 gradients begins anew.")
        step = read_json(checkpoint / TRAINER_STATE_NAME, max_bytes=MAX_STATE_BYTES)["global_step"]
        if self._run is not None:
            self._run, effective, idle = changes(self._known_run(checkpoint), self._run, step)
            for line in idle:
                self._say(line)
            for line in effective if self.is_world_process_zero() else ():
                print(line)  # as wanted, so no warning

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """As the parent's, and of a critic alone; what does not fit is a sentence."""
        with _Sentence(resume_from_checkpoint):
            if not _load_parts(self.model if model is None else model, resume_from_checkpoint):
                super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        """As the parent's, and of a critic alone."""
        best = self.state.best_model_checkpoint
        if best is None or not _load_parts(self.model, best):
            super()._load_best_model()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As the parent's; what does not fit is a sentence."""
        with _Sentence(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """As the parent's; what does not fit is a sentence."""
        with _Sentence(checkpoint):
            super()._load_rng_state(checkpoint)

    def _init_training_state(self, max_steps: int, *args, **kwargs) -> tuple[int, int]:
        """As the parent's, and sees whether the checkpoint is the end of its run. Patience goes on where it was."""
        trained = super()._init_training_state(max_steps, *args, **kwargs)
        stored = (self.state.stateful_callbacks or {}).get(EarlyStoppingCallback.__name__)
        stopped = False
        for callback in self.callback_handler.callbacks:
            if self.state.global_step and stored and isinstance(callback, EarlyStoppingCallback):
                first = stored[0] if isinstance(stored, list) else stored
                count = first.get("attributes", {}).get("early_stopping_patience_counter", 0)
                callback.early_stopping_patience_counter = count
                stopped = stopped or count >= callback.early_stopping_patience
        self._done = self.state.global_step >= max_steps > 0 or stopped
        if self._done:
            self._say(
                f"Nothing is left to train: the checkpoint is of step {self.state.global_step} of {max_steps}"
                f"{', where training stopped early' if stopped else ''}."
            )
        return trained

    def _run_epoch(self, *args, **kwargs) -> None:
        """As the parent's, which trains a step before it asks whether it is done."""
        if self._done:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the parent's; a training without a step has no loss to tell."""
        if self._done and "train_loss" in logs:
            return
        super().log(logs, start_time)

    # ---- checkpoints ----

    def _save_checkpoint(self, model, trial) -> None:
        """As the parent's, with what tells its run; Ctrl-C waits until it is whole."""
        with uninterrupted():
            if self.args.should_save and self._run is not None:
                folder = Path(self._get_output_dir(trial=trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
                folder.mkdir(parents=True, exist_ok=True)
                # Until its end it must not pass for a whole one, as an older one of its number would.
                (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
                write_json(folder / RUN_NAME, self._run)
            super()._save_checkpoint(model, trial)

    # ---- the best model ----

    def _metric_is_absent(self, metrics: dict[str, float]) -> bool:
        """Whether the metric of the best model does not exist this time; refuses one that never does."""
        name = self.args.metric_for_best_model
        if name is None or (name if name.startswith("eval_") else f"eval_{name}") in metrics:
            return False
        if not any(name == one or name.endswith(f"_{one}") for one in _SOMETIMES_ABSENT):
            known = sorted(one.removeprefix("eval_") for one in metrics if one.startswith("eval_"))
            raise ValueError(
                f"`metric_for_best_model` must be a metric of evaluation, got {name!r}: choose one of "
                f"{', '.join(known)}."
            )
        return True

    def _determine_best_metric(self, metrics: dict[str, float], trial) -> bool:
        """As the parent's; an evaluation without the metric is no better than any other."""
        if self._metric_is_absent(metrics):
            self._say(
                f"Step {self.state.global_step}: there is no {self.args.metric_for_best_model} (nothing, or all, was "
                "wrong, or did not vary), so this evaluation is not compared."
            )
            return False
        return super()._determine_best_metric(metrics, trial)

    def _evaluate(self, trial, ignore_keys_for_eval, skip_scheduler: bool = False) -> dict[str, float]:
        """As the parent's; a schedule that follows the metric stands still where there is none."""
        metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler=True)
        follows = torch.optim.lr_scheduler.ReduceLROnPlateau
        if not skip_scheduler and isinstance(self.lr_scheduler, follows) and not self._metric_is_absent(metrics):
            name = self.args.metric_for_best_model
            self.lr_scheduler.step(metrics[name if name.startswith("eval_") else f"eval_{name}"])
        return metrics


class _Sentence:
    """Within it, errors of reading a checkpoint into what is trained become a sentence."""

    def __init__(self, checkpoint: str | None):
        self.checkpoint = checkpoint

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, torch.OutOfMemoryError) or not isinstance(
            error, (RuntimeError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError)
        ):
            return
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"`resume_from_checkpoint` must fit what is trained, got {self.checkpoint!r}, which did not load "
            f"({first.rstrip('.:')}): take the checkpoint before, or repeat the flags of its run."
        ) from error
