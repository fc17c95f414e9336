# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a launcher was asked for, held against what accelerate makes of it: none may silently become the other."""

import os

from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainingArguments


def meet_processes(args: TrainingArguments) -> None:
    """
    Makes sure that the processes of a launch know of each other and that sharding, where it is asked for, happens. To
    be called before the `Accelerator` is made.

    Args:
        args ([`~transformers.TrainingArguments`]): Of the training; they set the processes up.

    Raises:
        `ValueError`: Several processes of which each would train alone, or sharding other than FSDP2.
    """
    state = args.distributed_state
    if state is None:  # set up by others
        return
    check_processes_met(state.num_processes)
    version = _sharding_version(args)
    if version is None:
        return
    if version != 2:
        raise ValueError(
            f"`fsdp_version` must be 2, got {version}: parameters that are flattened into one another cannot be "
            "trained apart, so take scripts/configs/fsdp2.yaml."
        )
    if state.distributed_type == DistributedType.MULTI_CPU:
        # accelerate 1.15 shards on accelerators alone and silently makes DDP of it on CPUs, where FSDP2 works as well.
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def launched_processes() -> int:
    """How many processes the launcher says it started, this one included; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_processes_met(num_processes: int) -> None:
    """
    Refuses a process of several that knows of itself alone: a launcher other than accelerate's, such as torchrun,
    does not say that CPUs are meant.

    Args:
        num_processes (`int`): Those that accelerate knows of.

    Raises:
        `ValueError`: There are more, each of which would do the whole work and write over the others' files.
    """
    launched = launched_processes()
    if launched > 1 and num_processes == 1:
        raise ValueError(
            f"`num_processes` must be 1 where there is no GPU for each process, got {launched}, each of which would "
            "work alone: set ACCELERATE_USE_CPU=true to work on CPUs."
        )


def _sharding_version(args: TrainingArguments) -> int | None:
    """The version of FSDP that the arguments or the launcher ask for."""
    if args.fsdp_plugin_args is not None:
        return args.fsdp_plugin_args["fsdp_version"]
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        return int(os.environ.get("FSDP_VERSION", "1"))
    return None
