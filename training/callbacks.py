# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Callbacks of [`CriticTrainer`]."""

from transformers import TrainerCallback

from critic_gpt.training.data import IdentifiedExamples


class SetEpochCallback(TrainerCallback):
    """
    Tells the training examples the epoch. The data loader does so only where its sampler is not wrapped for several
    processes or for skipping the batches before a checkpoint.
    """

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        dataset = getattr(train_dataloader, "dataset", None)
        if isinstance(dataset, IdentifiedExamples):
            dataset.set_epoch(int(state.epoch or 0))


class DropCalibrationCallback(TrainerCallback):
    """Takes the calibration table off the model at the first optimizer step: it was measured on other weights."""

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        if getattr(model, "calibration", None) is not None:
            model.calibration = None
