# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Arguments of training, and the warm-up of the critic's weight."""

import math
from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from critic_gpt.training.masking import load_masking


@dataclass
class CriticTrainingArguments(TrainingArguments):
    """
    [`~transformers.TrainingArguments`] with what a critic needs. Inherited defaults that differ here:
    `remove_unused_columns=False` (the collator picks its columns itself), `dataloader_pin_memory` only where there is
    a GPU, `logging_steps=25`, `learning_rate=1e-3`, `lr_scheduler_type="cosine"`,
    `weight_decay=0.01`.

    Args:
        critic_warmup_start (`int`, *optional*, defaults to 0): Optimizer step up to which the critic's weight is 0.
        critic_warmup_end (`int`, *optional*, defaults to 0): Optimizer step from which it is the model's
            `critic_alpha`, linear in between. An end not after the start means a constant weight.
        critic_batch_share (`float`, *optional*, defaults to 1.0): Share of the sequences of each micro-batch, in
            (0, 1] and rounded up, that get the second pass with its losses; evaluation judges all.
        joint_batch_share (`float`, *optional*, defaults to 1.0): Share of the sequences of each micro-batch, in
            (0, 1] and rounded up, in which the joint head is asked for masks; evaluation asks in all.
        peak_tflops (`float`, *optional*): What one device can do at most, in 10^12 floating-point operations per
            second in the precision of the training: with it the logs show `mfu`, the share of it that the training
            needs. 0 measures it by a large product of matrices before the first step.
        min_mask_rate (`float`, *optional*, defaults to 0.001): Smallest diffusion time, in (0, 1]; the 1/t weights of
            the loss are at most its inverse.
        stratified_times (`bool`, *optional*, defaults to `True`): Draw the diffusion times of each micro-batch on a
            common grid, which makes the loss less noisy. `False`: each sequence draws its own, so that a training is
            the same however its batches are split into micro-batches; with the grid, as long as these are equally
            large.
        masking (`str`, *optional*): How tokens are masked: `"diffusion"` (what happens without it), `"random"`,
            `"bert"`, `"span"` or `"sticky"`, or a YAML or JSON file of stages that mix them.
        muon_learning_rate (`float`, *optional*): Peak learning rate, above 0, of Muon, which then optimises the
            matrices of the blocks, while AdamW optimises all else with `learning_rate`; both follow one schedule. 0.02
            is usual. `None`: AdamW alone.
        ema_decay (`float`, *optional*, defaults to 0.0): Decay, in [0, 1), of a moving average of the weights that are
            trained, `min(ema_decay, (1 + n) / (10 + n))` after n optimizer steps. The average is what is evaluated and
            saved; checkpoints hold the weights to go on with beside it. 0 = no average.
    """

    remove_unused_columns: bool = field(default=False, metadata={"help": "Left to the collator, which picks columns."})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "Pin host memory; on where there is a GPU."}
    )
    logging_steps: float = field(default=25, metadata={"help": "Log every this many optimizer steps."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Schedule of the learning rate."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of AdamW."})
    critic_warmup_start: int = field(default=0, metadata={"help": "Step up to which the critic's weight is 0."})
    critic_warmup_end: int = field(default=0, metadata={"help": "Step from which the critic's weight is full."})
    critic_batch_share: float = field(
        default=1.0, metadata={"help": "Share of the sequences that get the second pass in training, in (0, 1]."}
    )
    joint_batch_share: float = field(
        default=1.0, metadata={"help": "Share of the sequences in which the joint head is trained, in (0, 1]."}
    )
    peak_tflops: float | None = field(
        default=None,
        metadata={"help": "10^12 operations per second a device can do, for `mfu` in the logs; 0 measures."},
    )
    min_mask_rate: float = field(default=1e-3, metadata={"help": "Smallest diffusion time, in (0, 1]."})
    stratified_times: bool = field(
        default=True, metadata={"help": "Draw the diffusion times of a micro-batch on a common grid; default True."}
    )
    masking: str | None = field(
        default=None, metadata={"help": "diffusion (default), random, bert, span, sticky, or a file of stages."}
    )
    muon_learning_rate: float | None = field(
        default=None, metadata={"help": "Muon for the matrices of the blocks, with this peak learning rate."}
    )
    ema_decay: float = field(default=0.0, metadata={"help": "Evaluate and save an average of the weights; 0.999."})

    @property
    def sampling_seed(self) -> int:
        """Seed of all that is drawn about the data: `data_seed`, or `seed` without it."""
        return self.seed if self.data_seed is None else self.data_seed

    def __post_init__(self):
        super().__post_init__()
        for name in ("label_smoothing_factor", "bf16_full_eval", "fp16_full_eval"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` has no effect on masked diffusion with a critic, got {getattr(self, name)}: leave it "
                    "out."
                )
        for name in ("critic_warmup_start", "critic_warmup_end"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, got {getattr(self, name)}: give an optimizer step.")
        for name in ("critic_batch_share", "joint_batch_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"`{name}` must be in (0, 1], got {getattr(self, name)}: 1 takes every sequence.")
        if self.peak_tflops is not None and not 0.0 <= self.peak_tflops < math.inf:
            raise ValueError(
                f"`peak_tflops` must be None or a finite number of at least 0, got {self.peak_tflops}: 0 measures it."
            )
        if not 0.0 < self.min_mask_rate <= 1.0:
            raise ValueError(f"`min_mask_rate` must be in (0, 1], got {self.min_mask_rate}: 0.001 is usual.")
        self._check_optimization()
        if self.masking is not None:
            load_masking(self.masking)  # here, so that a mistake costs no time
        if self.remove_unused_columns:
            raise ValueError(
                "`remove_unused_columns` must be False, got True: the collator picks its columns itself, and the ids "
                "of the examples, from which it draws, would be removed."
            )

    def _check_optimization(self) -> None:
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(
                f"`ema_decay` must be in [0, 1), got {self.ema_decay}: 0.999 is usual, 0 switches the average off."
            )
        rate = self.muon_learning_rate
        if rate is None:
            return
        if not 0.0 < rate < math.inf:
            raise ValueError(
                f"`muon_learning_rate` must be None or a finite number above 0, got {rate}: 0.02 is usual."
            )
        adamw = [OptimizerNames.ADAMW_TORCH.value, OptimizerNames.ADAMW_TORCH_FUSED.value]
        if self.optim not in adamw:
            raise ValueError(
                f"`optim` must be {' or '.join(adamw)} beside `muon_learning_rate`, got "
                f"{OptimizerNames(self.optim).value!r}: leave one of the two out."
            )


def critic_alpha_at(step: int, alpha: float, start: int, end: int) -> float:
    """
    Weight of the critic's loss at an optimizer step: 0 before `start`, linear up to `alpha` at `end`, then constant.

    Args:
        step (`int`): Optimizer steps done so far.
        alpha (`float`): Final weight.
        start, end (`int`): Warm-up; `end <= start` = constant from the beginning.
    """
    if end <= start:
        return alpha
    return alpha * min(max((step - start) / (end - start), 0.0), 1.0)
