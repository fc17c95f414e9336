# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Masked diffusion language models that know which of their tokens are wrong.

Importing the package registers the model with the Auto classes of Transformers, and the tasks of its pipelines with
`pipeline`.
"""

import importlib

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY

from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.critic_model.any_masked_lm import get_critic_model
from critic_gpt.critic_model.auto import AutoModelForMaskedLMWithCritic
from critic_gpt.critic_model.critic_config import CriticConfig
from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
from critic_gpt.diffusion.selection import apply_remasking_step
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.strategies.registry import register_strategy
from critic_gpt.hub.folder import PIPELINES
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

# `exist_ok` and the look at the known tasks make a second import harmless.
AutoConfig.register(CriticGPTConfig.model_type, CriticGPTConfig, exist_ok=True)
AutoModel.register(CriticGPTConfig, CriticGPTModel, exist_ok=True)
AutoModelForMaskedLM.register(CriticGPTConfig, CriticGPTForMaskedLM, exist_ok=True)
AutoModelForTokenClassification.register(CriticGPTConfig, CriticGPTForTokenClassification, exist_ok=True)
AutoModelForSequenceClassification.register(CriticGPTConfig, CriticGPTForSequenceClassification, exist_ok=True)
for _task in PIPELINES.keys() - set(PIPELINE_REGISTRY.get_supported_tasks()):
    _module, _name = PIPELINES[_task]["impl"].split(".")
    PIPELINE_REGISTRY.register_pipeline(
        _task,
        pipeline_class=getattr(importlib.import_module(f"critic_gpt.pipelines.{_module}"), _name),
        pt_model=(AutoModelForMaskedLMWithCritic,),
        type=PIPELINES[_task]["type"],
    )
