# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The optimizer of the trainers: Muon beside AdamW, and a trunk that is unfrozen in the middle of a run."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import nn

from critic_gpt.calibration.fingerprint import has_adapters
from critic_gpt.training.callbacks import UnfreezeCallback
from critic_gpt.training.optimizers import MuonAdamW, parameter_groups
from critic_gpt.training.trainer_mixin import TrainerMixin


class GroupedOptimizer(TrainerMixin):
    """
    Mixin of a [`~transformers.Trainer`] with [`CriticTrainingArguments`] that makes its optimizer, and averages what
    DDP does not. The trainer says what its model is below all wrappers (`_unwrapped`).
    """

    optimizer: Any  # of the parent, which gives it no type
    _unwrapped: Any
    # Those that are unfrozen in the middle of the run.
    _late_parameters: Sequence[nn.Parameter] = ()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """
        As the parent's; with `muon_learning_rate` Muon takes the matrices of the blocks. With an [`UnfreezeCallback`]
        the frozen parameters are in it from the start, in groups of their own with their own learning rates, so that a
        checkpoint from before the unfreezing fits a run after it. A parameter without a gradient is passed over by
        optimizers, weight decay included.
        """
        if self.optimizer is not None:
            return super().create_optimizer(model)
        args, opt_model = self.args, self.model if model is None else model
        if args.ema_decay > 0.0:
            self._check_unsharded("ema_decay", "leave it out, or use DDP or FSDP2", fsdp2=True)
        else:  # an average of weights refuses half precision itself
            _check_learns_in_full(opt_model)
        late, multiplier = self._late(opt_model)
        decayed = set(self.get_decay_parameter_names(opt_model))
        matrices = set() if args.muon_learning_rate is None else self._matrices(opt_model, late)

        def groups(parameters: dict[str, nn.Parameter], factor: float = 1.0) -> list[dict[str, Any]]:
            muon_rate = args.muon_learning_rate and args.muon_learning_rate * factor
            return parameter_groups(
                parameters, decayed, args.weight_decay, args.learning_rate * factor, matrices, muon_rate
            )

        if args.muon_learning_rate is None:
            optimizer = super().create_optimizer(model)
        else:
            trained = {name: weight for name, weight in opt_model.named_parameters() if weight.requires_grad}
            options = self.get_optimizer_cls_and_kwargs(args, opt_model)[1]
            optimizer = self.optimizer = MuonAdamW(groups(trained), muon_lr=args.muon_learning_rate, **options)
        for group in groups(late, multiplier) if late else ():
            optimizer.add_param_group(group)
        self._late_parameters = list(late.values())
        return optimizer

    def _late(self, opt_model: nn.Module) -> tuple[dict[str, nn.Parameter], float]:
        """The parameters that are unfrozen in the middle of the run, by name, and the factor on their rates."""
        unfreezing = [one for one in self.callback_handler.callbacks if isinstance(one, UnfreezeCallback)]
        if not unfreezing:
            return {}, 1.0
        if len(unfreezing) > 1:
            raise ValueError(f"`callbacks` must hold one UnfreezeCallback at most, got {len(unfreezing)}: keep one.")
        self._check_unsharded(
            "unfreeze_step",
            "what is trained is settled there when the model is sharded, so train in two runs, or with DDP",
        )
        if has_adapters(self.model):
            raise ValueError(
                "`callbacks` must hold no UnfreezeCallback beside adapters, got one: it would train weights that are "
                "not saved with them, so leave it out, or train without adapters."
            )
        trunk = {id(parameter) for parameter in self.model.base_model.parameters()}
        late = {
            name: parameter
            for name, parameter in opt_model.named_parameters()
            if id(parameter) in trunk and not parameter.requires_grad
        }
        if not late:
            raise ValueError(
                "`UnfreezeCallback` must be given with a frozen trunk, got one that is trained already: call "
                "`model.freeze_trunk()` first."
            )
        return late, unfreezing[0].lr_multiplier

    def _matrices(self, opt_model: nn.Module, late: dict[str, nn.Parameter]) -> set[str]:
        """Names of the matrices of the blocks that are trained, now or later: what Muon optimises."""
        self._check_unsharded("muon_learning_rate", "leave it out, or use DDP or FSDP2", fsdp2=True)
        layers = getattr(self._unwrapped.base_model, "layers", None)
        if layers is None:
            raise ValueError(
                f"`muon_learning_rate` must be left out for a model whose trunk has no `layers`, got "
                f"{self.args.muon_learning_rate} with a {type(self._unwrapped).__name__}: leave it out."
            )
        blocks = {id(parameter) for parameter in layers.parameters() if parameter.dim() == 2}
        named = opt_model.named_parameters()
        names = {name for name, one in named if id(one) in blocks and (one.requires_grad or name in late)}
        if not names:
            raise ValueError(
                f"`muon_learning_rate` must be left out where no matrix of the blocks is trained, got "
                f"{self.args.muon_learning_rate} with a frozen trunk: leave it out, or unfreeze the trunk."
            )
        return names

    def _check_unsharded(self, name: str, reason: str, fsdp2: bool = False) -> None:
        kind = self.accelerator.distributed_type
        if fsdp2 and self.accelerator.is_fsdp2:
            return
        if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED) or self.is_distributed_loading_by_transformers:
            raise ValueError(f"`{name}` must be left out with sharded parameters, got it with {kind.value}: {reason}.")

    def _average_late_gradients(self) -> None:
        """
        DDP knows only parameters that were trained at its making. Like its own averaging, this comes once for all the
        micro-batches of a step, before the clipping.
        """
        if not self._late_parameters or self.accelerator.num_processes == 1 or not self.accelerator.sync_gradients:
            return
        trained = [parameter for parameter in self._late_parameters if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:  # no part in this process's loss
                parameter.grad = torch.zeros_like(parameter)
        handles = [torch.distributed.all_reduce(parameter.grad, async_op=True) for parameter in trained]
        for parameter, handle in zip(trained, handles, strict=True):
            handle.wait()
            parameter.grad.div_(self.accelerator.num_processes)


def _check_learns_in_full(model: nn.Module) -> None:
    """Refuses weights in float16 that are to learn: the steps of an optimizer, at rates for a head, make them NaN."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.dtype == torch.float16:
            raise ValueError(
                f"`model` must learn in float32 or bfloat16, got float16 for `{name}`, which becomes NaN: load it "
                "with `dtype=torch.float32`; `fp16=True` then computes in half precision."
            )
