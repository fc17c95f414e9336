# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Makes a model carry its calibration table: loaded, saved and pushed together with the weights."""

from transformers.utils import logging

from .calibration_critic_gpt import DEFAULT_WEIGHTS_NAME, CriticCalibration, weights_fingerprint
from .loading_critic_gpt import location_of


logger = logging.get_logger(__name__)

# Arguments of `save_pretrained` that are meant for `push_to_hub`.
_HUB_ARGUMENTS = ("repo_id", "commit_message", "commit_description", "private", "revision", "create_pr", "tags")


def weights_file_name(variant: str | None = None) -> str:
    """Name of the weights' file, the key of their table: `model.safetensors` or `model.VARIANT.safetensors`."""
    if not variant:
        return DEFAULT_WEIGHTS_NAME
    stem, ending = DEFAULT_WEIGHTS_NAME.rsplit(".", 1)
    return f"{stem}.{variant}.{ending}"


class CalibratedModelMixin:
    """
    Gives a model the attribute `calibration`: a [`CriticCalibration`] or `None`. To stand before the class whose
    `from_pretrained` and `save_pretrained` it extends.
    """

    calibration: CriticCalibration | None = None

    def fingerprint(self) -> str | None:
        """Identifies the present weights ([`weights_fingerprint`])."""
        return weights_fingerprint(self.named_parameters())

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """As the parent's, and loads the `calibration.json` beside the weights where it fits them."""
        location = location_of(kwargs)
        variant = kwargs.get("variant")
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if pretrained_model_name_or_path is not None and model.critic_head is not None:
            table = CriticCalibration.from_pretrained(
                pretrained_model_name_or_path, key=weights_file_name(variant), **location
            )
            if table is not None and not table.matches(model.fingerprint()):
                logger.warning(
                    f"The table in calibration.json of {pretrained_model_name_or_path} was measured on other weights "
                    "and is not used: calibrate again with scripts/calibrate.py."
                )
                table = None
            model.calibration = table
        return loaded

    def save_pretrained(
        self, save_directory, is_main_process: bool = True, state_dict=None, push_to_hub: bool = False, **kwargs
    ):
        """As the parent's, and writes `calibration.json` beside the weights where the model has a table."""
        hub = {name: kwargs.pop(name) for name in _HUB_ARGUMENTS if name in kwargs}
        super().save_pretrained(
            save_directory, is_main_process=is_main_process, state_dict=state_dict, push_to_hub=False, **kwargs
        )
        if is_main_process and self.calibration is not None:
            self.calibration.save(save_directory, key=weights_file_name(kwargs.get("variant")))
        if push_to_hub and is_main_process:
            # After everything is written: the parent would push before the table lies there.
            hub.setdefault("repo_id", str(save_directory).rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1])
            self.push_to_hub(**hub, token=kwargs.get("token"))
