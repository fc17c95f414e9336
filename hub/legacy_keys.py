# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the keys of older GPT configurations mean now: the one place that knows them. Imports no torch."""

from typing import Any

from transformers.utils import logging


logger = logging.get_logger(__name__)

# Keys whose meaning is carried by another field, as {old key: {old value: new fields}}.
_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "attention_type": {"causal": {"is_causal": True}, "bidirectional": {"is_causal": False}},
    "position_encoding": {
        "rotary": {"position_embedding_type": "rotary"},
        "absolute": {"position_embedding_type": "absolute"},
    },
}
# Values of the key `mode`, whose job is done by the choice of the model class.
LEGACY_MODES = {
    "language_model": "CriticGPTForMaskedLM",
    "token_classifier": "CriticGPTForTokenClassification",
    "sequence_scorer": "CriticGPTForSequenceClassification",
}


def legacy_mode(value: object) -> str:
    """The older key `mode` as a key of `LEGACY_MODES`, if it is one: also of an enumeration written as text."""
    return str(value).lower().rsplit(".", 1)[-1]


def take_legacy_keys(given: dict[str, Any]) -> dict[str, Any]:
    """
    Takes the keys of older configurations out of what a configuration is made of. What the model class decides now is
    named in one warning.

    Args:
        given (`dict`): Changed in place: the older keys are gone, and `num_labels` is there if one of them said it.

    Returns:
        `dict[str, Any]`: The fields of today that they stand for.

    Raises:
        `ValueError`: An older key has a value that it never had.
    """
    fields: dict[str, Any] = {}
    if "dropout" in given:
        fields["hidden_dropout"] = fields["attention_dropout"] = given.pop("dropout")
    for key, meanings in _VALUES.items():
        if key in given:
            value = given.pop(key)
            if not isinstance(value, str) or value not in meanings:
                raise ValueError(
                    f"`{key}` must be one of {sorted(meanings)}, got {value!r}: correct it in config.json."
                )
            fields |= meanings[value]
    num_labels = given.pop("num_token_classes", None)
    if given.pop("binary_classification", False):
        num_labels = 2
    if "mode" in given:
        mode = legacy_mode(given.pop("mode"))
        if mode == "sequence_scorer":
            num_labels = 1  # one score, whatever the unused count of token classes says
        logger.warning(
            f"`mode={mode}` of an older configuration is decided by the model class now: "
            f"load it with `{LEGACY_MODES.get(mode, 'one of ' + ', '.join(LEGACY_MODES.values()))}`."
        )
    if num_labels is not None:
        given.setdefault("num_labels", num_labels)
    return fields
