# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a critic can be given to, and by which tokenizer: everything that is wrong with either, in one sentence."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from critic_gpt.hub.vocabulary import other_tokens, tokenizer_beside


# What wraps a model, by an attribute that only the wrapper has, and what to do about it.
_WRAPPERS = {
    "merge_and_unload": "merge its adapter (`merge_and_unload()`), or give the critic to the model without it and "
    "then call `model.add_adapter(...)`",
    "_orig_mod": "give the critic to the model, then compile it",
    "module": "give the critic to its `module`, then wrap that",
}


def check_takes_critic(field: str, model: Any) -> None:
    """
    Refuses what is no model of Transformers with all its weights and without a critic.

    Args:
        field (`str`): Name of the argument that holds it.
        model: What was given.
    """
    if not isinstance(model, PreTrainedModel):
        way_out = "load one with AutoModelForMaskedLM.from_pretrained"
        if not isinstance(model, type):  # a class has the attributes of its instances
            way_out = next((advice for name, advice in _WRAPPERS.items() if hasattr(model, name)), way_out)
        raise ValueError(
            f"`{field}` must be a masked language model of Transformers, got a {type(model).__name__}: {way_out}."
        )
    if any(weight.is_meta for weight in model.parameters()):
        raise ValueError(
            f"`{field}` must hold its weights, got a {type(model).__name__} with some on the meta device: load it "
            "without `device_map`, or onto one device."
        )
    if hasattr(model, "critic_scores"):
        raise ValueError(
            f"`{field}` must be a masked language model without a critic, got a {type(model).__name__}: it has one "
            "already, or is made with one by `add_critic_head=True`."
        )


def own_tokenizer(model: PreTrainedModel) -> PreTrainedTokenizerBase | None:
    """The tokenizer that lies where a model was loaded from, if it was, and there is one."""
    return tokenizer_beside(model.name_or_path) if model.name_or_path else None


def check_own_tokenizer(model: PreTrainedModel, tokenizer: Any) -> None:
    """
    Refuses what is no tokenizer, has no mask and no padding of its own, or is that of another model, as far as the one
    beside the model or its configuration tells.

    Args:
        model ([`~transformers.PreTrainedModel`]): Without a critic.
        tokenizer: What was given, or found.
    """
    if tokenizer is not None and not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(
            f"`tokenizer` must be a tokenizer of Transformers, got a {type(tokenizer).__name__}: pass "
            "AutoTokenizer.from_pretrained(...) of the model."
        )
    if tokenizer is None or getattr(tokenizer, "mask_token_id", None) is None:
        what = "none, nor lies one where the model came from"
        what = what if tokenizer is None else f"a {type(tokenizer).__name__} without one"
        raise ValueError(
            f"`tokenizer` must be the model's own, with a mask token, got {what}: pass "
            "AutoTokenizer.from_pretrained(...) of the model, or add a mask token to both."
        )
    if tokenizer.mask_token_id == tokenizer.pad_token_id:
        raise ValueError(
            f"`tokenizer` must have a padding token of its own, got {tokenizer.pad_token!r} for both padding and "
            "mask: add one with `tokenizer.add_special_tokens({'pad_token': '[PAD]'})`."
        )
    fault = other_tokens(model, tokenizer)
    # What a type has by default says nothing of this model.
    said = getattr(model.config, "mask_token_id", None)
    if fault is None and said not in (None, getattr(type(model.config), "mask_token_id", None)):
        fault = (
            None
            if said == tokenizer.mask_token_id
            else f"one whose mask has the id {tokenizer.mask_token_id} and not {said}"
        )
    if fault is not None:
        raise ValueError(
            f"`tokenizer` must be that of the model, got {fault}: take the one beside the model, or save the model "
            "with this one and load it from there."
        )
