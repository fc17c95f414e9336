# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Makes our model known to Transformers as soon as Transformers itself is needed, and not before.

`import critic_gpt` promises that the Auto classes and `pipeline` know our model and tasks. To import Transformers and
torch takes seconds, which `critic-gpt --help` does not have. So each registration waits for the module of Transformers
that it writes into: it is made when that module has been imported, or at once where it is there already.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


PACKAGE = "critic_gpt"


def register_configuration() -> None:
    """Tells `AutoConfig`."""
    from transformers import AutoConfig

    from critic_gpt.configuration_critic_gpt import CriticGPTConfig

    AutoConfig.register(CriticGPTConfig.model_type, CriticGPTConfig, exist_ok=True)


def register_models() -> None:
    """Tells the Auto classes of models."""
    from transformers import (
        AutoModel,
        AutoModelForMaskedLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )

    from critic_gpt.configuration_critic_gpt import CriticGPTConfig
    from critic_gpt.modeling_critic_gpt import (
        CriticGPTForMaskedLM,
        CriticGPTForSequenceClassification,
        CriticGPTForTokenClassification,
        CriticGPTModel,
    )

    AutoModel.register(CriticGPTConfig, CriticGPTModel, exist_ok=True)
    AutoModelForMaskedLM.register(CriticGPTConfig, CriticGPTForMaskedLM, exist_ok=True)
    AutoModelForTokenClassification.register(CriticGPTConfig, CriticGPTForTokenClassification, exist_ok=True)
    AutoModelForSequenceClassification.register(CriticGPTConfig, CriticGPTForSequenceClassification, exist_ok=True)


def register_pipelines() -> None:
    """Tells `pipeline`; a task that it knows already stays as it is."""
    from transformers.pipelines import PIPELINE_REGISTRY

    from critic_gpt.critic_model.auto import AutoModelForMaskedLMWithCritic
    from critic_gpt.hub.folder import PIPELINES

    for task in PIPELINES.keys() - set(PIPELINE_REGISTRY.get_supported_tasks()):
        module, name = PIPELINES[task]["impl"].split(".")
        PIPELINE_REGISTRY.register_pipeline(
            task,
            pipeline_class=getattr(importlib.import_module(f"{PACKAGE}.pipelines.{module}"), name),
            pt_model=(AutoModelForMaskedLMWithCritic,),
            type=PIPELINES[task]["type"],
        )


# In this order: what is registered first is needed by the next.
REGISTRATIONS: dict[str, Callable[[], None]] = {
    "transformers.models.auto.configuration_auto": register_configuration,
    "transformers.models.auto.modeling_auto": register_models,
    "transformers.pipelines": register_pipelines,
}


class Registrar(MetaPathFinder):
    """
    Sees these modules of Transformers, and ours, being imported. What waits is registered when one of them is complete
    and none of them is half imported, so that no registration meets one in the middle of its import.
    """

    # Known again by this where the package, and this class with it, is imported anew.
    of_critic_gpt = True

    def __init__(self, registrations: dict[str, Callable[[], None]]):
        self.waiting = dict(registrations)
        self.half_imported = 0

    def find_spec(self, fullname: str, path=None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in self.waiting and not fullname.startswith(f"{PACKAGE}."):
            return None
        others = _other_finders()
        spec = next((found for finder in others if (found := finder.find_spec(fullname, path, target))), None)
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader) -> None:
        """On the loader of this one module, so that nothing else changes about it."""
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self.half_imported += 1
            try:
                run(module)
            finally:
                self.half_imported -= 1
            self.register()

        loader.exec_module = exec_module

    def register(self) -> None:
        """Registers what waits for nothing any more."""
        for name in list(self.waiting):
            if self.half_imported or name not in sys.modules or name not in self.waiting:
                continue
            registration = self.waiting.pop(name)
            self.half_imported += 1
            try:
                registration()
            finally:
                self.half_imported -= 1
        if not self.waiting and self in sys.meta_path:
            sys.meta_path.remove(self)


def _other_finders() -> list[Any]:
    """Those of everybody else."""
    return [finder for finder in sys.meta_path if not getattr(finder, "of_critic_gpt", False)]


def register_when_needed() -> None:
    """Registers what can be registered now, and the rest as soon as it can be."""
    registrar = Registrar(REGISTRATIONS)
    # One that still waits is of an earlier import of the package: two would ask each other without end.
    sys.meta_path[:] = [registrar, *_other_finders()]
    registrar.register()
