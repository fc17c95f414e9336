# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What mixins of a [`~transformers.Trainer`] inherit from: nothing at runtime, the Trainer for a type checker."""

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from transformers import Trainer as TrainerMixin
else:

    class TrainerMixin:
        """Stands before a Trainer among the bases of a class."""
