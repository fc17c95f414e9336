# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Callbacks of [`CriticTrainer`]."""

from transformers import TrainerCallback


class DropCalibrationCallback(TrainerCallback):
    """Takes the calibration table off the model at the first optimizer step: it was measured on other weights."""

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        if getattr(model, "calibration", None) is not None:
            model.calibration = None
