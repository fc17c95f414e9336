# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Masked diffusion language models that know which of their tokens are wrong.

Importing the package registers the model with the Auto classes of Transformers, and the tasks of its pipelines with
`pipeline`. Its names, and what registering takes, are imported when they are needed.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critic_gpt.registration import register_when_needed


if TYPE_CHECKING:
    from critic_gpt.calibration.table import CriticCalibration
    from critic_gpt.configuration_critic_gpt import CriticGPTConfig
    from critic_gpt.critic_model.any_masked_lm import get_critic_model
    from critic_gpt.critic_model.auto import AutoModelForMaskedLMWithCritic
    from critic_gpt.critic_model.critic_config import CriticConfig
    from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
    from critic_gpt.diffusion.selection import apply_remasking_step
    from critic_gpt.generation.configuration import CriticGPTGenerationConfig
    from critic_gpt.generation.strategies.registry import register_strategy
    from critic_gpt.modeling_critic_gpt import (
        CriticGPTForMaskedLM,
        CriticGPTForSequenceClassification,
        CriticGPTForTokenClassification,
        CriticGPTModel,
    )
    from critic_gpt.pipelines.critic_diffusion import CriticDiffusionPipeline
    from critic_gpt.pipelines.critic_proofread import CriticProofreadPipeline
    from critic_gpt.training.arguments import CriticTrainingArguments
    from critic_gpt.training.callbacks import UnfreezeCallback
    from critic_gpt.training.collator import DataCollatorForMaskedDiffusion
    from critic_gpt.training.head_trainer import ClassificationTrainer, ScoringTrainer
    from critic_gpt.training.modifiers import LossModifiers
    from critic_gpt.training.trainer import CriticTrainer


__version__ = "0.1.0"

# Where each public name stands.
_PLACES = {
    "AutoModelForMaskedLMWithCritic": "critic_model.auto",
    "ClassificationTrainer": "training.head_trainer",
    "CriticCalibration": "calibration.table",
    "CriticConfig": "critic_model.critic_config",
    "CriticDiffusionPipeline": "pipelines.critic_diffusion",
    "CriticGPTConfig": "configuration_critic_gpt",
    "CriticGPTForMaskedLM": "modeling_critic_gpt",
    "CriticGPTForSequenceClassification": "modeling_critic_gpt",
    "CriticGPTForTokenClassification": "modeling_critic_gpt",
    "CriticGPTGenerationConfig": "generation.configuration",
    "CriticGPTModel": "modeling_critic_gpt",
    "CriticProofreadPipeline": "pipelines.critic_proofread",
    "CriticTrainer": "training.trainer",
    "CriticTrainingArguments": "training.arguments",
    "DataCollatorForMaskedDiffusion": "training.collator",
    "LossModifiers": "training.modifiers",
    "ScoringTrainer": "training.head_trainer",
    "UnfreezeCallback": "training.callbacks",
    "apply_remasking_step": "diffusion.selection",
    "build_critic_artifacts_from_logits": "diffusion.critic_targets",
    "get_critic_model": "critic_model.any_masked_lm",
    "register_strategy": "generation.strategies.registry",
}

__all__ = [
    "AutoModelForMaskedLMWithCritic",
    "ClassificationTrainer",
    "CriticCalibration",
    "CriticConfig",
    "CriticDiffusionPipeline",
    "CriticGPTConfig",
    "CriticGPTForMaskedLM",
    "CriticGPTForSequenceClassification",
    "CriticGPTForTokenClassification",
    "CriticGPTGenerationConfig",
    "CriticGPTModel",
    "CriticProofreadPipeline",
    "CriticTrainer",
    "CriticTrainingArguments",
    "DataCollatorForMaskedDiffusion",
    "LossModifiers",
    "ScoringTrainer",
    "UnfreezeCallback",
    "apply_remasking_step",
    "build_critic_artifacts_from_logits",
    "get_critic_model",
    "register_strategy",
]


def __getattr__(name: str) -> Any:
    """A public name, imported now, or a room of the package."""
    if name in _PLACES:
        value = getattr(importlib.import_module(f"critic_gpt.{_PLACES[name]}"), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and (name in _PLACES.values() or Path(__file__).with_name(name).is_dir()):
        return importlib.import_module(f"critic_gpt.{name}")
    raise AttributeError(f"module 'critic_gpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_when_needed()
