# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Callbacks of the trainers."""

import math

from accelerate.data_loader import IterableDatasetShard
from transformers import TrainerCallback

from critic_gpt.training.data import IdentifiedExamples, IdentifiedStream, innermost_sampler
from critic_gpt.training.like_lengths import LikeLengthsSampler


class SetEpochCallback(TrainerCallback):
    """
    Tells the epoch to the training examples, and to what orders them by length. The data loader does so only where its
    sampler is not wrapped for several processes or for skipping the batches before a checkpoint.
    """

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        dataset = getattr(train_dataloader, "dataset", None)
        if isinstance(dataset, IterableDatasetShard):  # a process's part of a stream
            dataset = dataset.dataset
        if isinstance(dataset, (IdentifiedExamples, IdentifiedStream)):
            dataset.set_epoch(int(state.epoch or 0))
        order = getattr(innermost_sampler(train_dataloader), "sampler", None)
        if isinstance(order, LikeLengthsSampler):
            order.set_epoch(int(state.epoch or 0))


class DropCalibrationCallback(TrainerCallback):
    """Takes the calibration tables off the model at the first optimizer step: they were measured on other weights."""

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        model.drop_calibration()


class UnfreezeCallback(TrainerCallback):
    """
    Unfreezes the trunk in the middle of a run whose model was frozen with `model.freeze_trunk()`: first the heads
    learn to read the trunk as it is, then everything is trained together.

    Belongs into `callbacks` of [`CriticTrainer`] or a trainer of the other heads. Their optimizer holds the frozen
    parameters from the start, so a run resumed from a checkpoint of before or after the unfreezing ends with the same
    weights as one that was never interrupted.

    Args:
        step (`int`): Optimizer steps to be done with the frozen trunk, at least 1 and fewer than the training has.
        lr_multiplier (`float`, *optional*, defaults to 1.0): Factor, above 0, on the learning rate of the trunk; its
            schedule is that of the heads and runs on while the trunk is frozen.

    Raises:
        `ValueError`: A number out of range; in training, an optimizer that does not hold the trunk, or a `step` that
            it never comes to.
    """

    def __init__(self, step: int, lr_multiplier: float = 1.0):
        if step < 1:
            raise ValueError(f"`step` must be at least 1, got {step}: leave the trunk unfrozen for 0.")
        if not 0.0 < lr_multiplier < math.inf:
            raise ValueError(
                f"`lr_multiplier` must be a finite number above 0, got {lr_multiplier}: leave the callback out to "
                "keep the trunk frozen."
            )
        self.step = step
        self.lr_multiplier = lr_multiplier
        self._done = False

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not all(id(parameter) in held for parameter in model.base_model.parameters()):
            raise ValueError(
                "`optimizer` must hold the frozen trunk from the start, got one without it: let CriticTrainer make "
                "the optimizer, or put the trunk's parameters into yours."
            )
        if self.step >= state.max_steps:
            raise ValueError(
                f"`step` must be below the {state.max_steps} steps of this training, got {self.step}: leave the "
                "callback out to keep the trunk frozen."
            )
        self._done = False

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        # By the number of steps alone, so that a resumed run comes to the same decision.
        if not self._done and state.global_step >= self.step:
            model.unfreeze_trunk()
            self._done = True
