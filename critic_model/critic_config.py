# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a critic for somebody else's model is like, and how its configuration comes to carry that."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError

from critic_gpt.configuration_critic_gpt import CriticGPTConfig


@dataclass(kw_only=True)
class CriticConfig:
    """
    How [`get_critic_model`] gives a masked language model a critic. Fields that [`CriticGPTConfig`] has too mean the
    same here.

    Args:
        freeze (`bool`, *optional*, defaults to `True`): Whether the model stays as it is and the critic's head alone
            learns. A frozen model keeps its dropout off, and is not saved with its critic, only named.
        critic_head_type (`str`, *optional*, defaults to `"odds"`): `"odds"` reads beside the states what the language
            model thinks of each token; `"linear"` and `"mlp"` read the states alone.
        critic_alpha (`float`, *optional*, defaults to 1.0): Weight of the critic's loss, at least 0.
        critic_target_scope (`str`, *optional*, defaults to `"masked_only"`): Which positions the critic is judged on.
        critic_fill (`str`, *optional*, defaults to `"multinomial"`): How masks are filled for the critic.
        critic_regime (`str`, *optional*, defaults to `"mixed"`): How many of the masks are filled.
        critic_fill_exponent (`float`, *optional*, defaults to 1.0): Where a fraction is filled, the exponent on it.
        critic_detach (`bool`, *optional*, defaults to `False`): Whether the critic's loss trains its head alone, in a
            model that is not frozen.
        correction_alpha (`float`, *optional*, defaults to 0.1): Weight of the second pass's language-model term. It
            needs weights that learn: a frozen model has none.
        remaining_alpha (`float`, *optional*, defaults to 0.0): Weight of the term at the masks that are left there.
        leave_one_out_alpha (`float`, *optional*, defaults to 0.0): Weight of the term that has the language model say
            of a token that it sees what it says of the token given all others.
    """

    freeze: bool = True
    critic_head_type: str = "odds"
    critic_alpha: float = 1.0
    critic_target_scope: str = "masked_only"
    critic_fill: str = "multinomial"
    critic_regime: str = "mixed"
    critic_fill_exponent: float = 1.0
    critic_detach: bool = False
    correction_alpha: float = 0.1
    remaining_alpha: float = 0.0
    leave_one_out_alpha: float = 0.0

    def __post_init__(self):
        if not isinstance(self.freeze, bool):
            raise ValueError(f"`freeze` must be True or False, got {self.freeze!r:.60}: choose one.")
        try:
            CriticGPTConfig(vocab_size=2, hidden_size=2, num_attention_heads=1, **self.critic_fields())
        except (StrictDataclassClassValidationError, StrictDataclassFieldValidationError) as error:
            raise ValueError(" ".join(str(error.__cause__ or error).split())) from error

    def critic_fields(self) -> dict[str, Any]:
        """The fields that [`CriticGPTConfig`] has too, by name."""
        return {name: value for name, value in asdict(self).items() if name != "freeze"}

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    def write_into(self, config: Any) -> None:
        """
        Makes a configuration carry what [`CriticGPTConfig`] says of a critic, in place.

        Args:
            config ([`~transformers.PreTrainedConfig`]): Of the model that gets the critic.
        """
        for name, value in {**self.critic_fields(), "add_critic_head": True, "add_joint_head": False}.items():
            setattr(config, name, value)
        config.critic_freeze = self.freeze

    @classmethod
    def from_dict(cls, content: Any) -> "CriticConfig":
        """
        As [`CriticConfig.to_dict`] gives it.

        Raises:
            `ValueError`: An unknown field, or a value that a field does not take.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in content if name not in known]
        if unknown:
            raise ValueError(f"`{unknown[0]}` must be a field of CriticConfig, got none such: mend the file.")
        return cls(**content)
