# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A critic for the masked language model one already has: the same model, of a class that has a critic as well."""

import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from critic_gpt.backbones.description import DESCRIPTION, Backbone
from critic_gpt.calibration.model import CalibratedModelMixin
from critic_gpt.critic_model.arguments import check_own_tokenizer, check_takes_critic, own_tokenizer
from critic_gpt.critic_model.critic_config import CriticConfig
from critic_gpt.critic_model.folder import CriticFolderMixin
from critic_gpt.critic_model.measuring import measured_backbone
from critic_gpt.critic_model.naming import HEAD_PREFIX
from critic_gpt.critic_model.padding import keep_stock_padding, with_own_padding
from critic_gpt.critic_model.passes import pass_of
from critic_gpt.critic_model.two_passes import Reading, TwoPassMixin
from critic_gpt.diffusion.drawable import adopt_tokenizer
from critic_gpt.diffusion.loss_terms import CriticGPTMaskedLMOutput
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.generate import CriticGPTGenerationMixin
from critic_gpt.heads.building import build_critic_head
from critic_gpt.heads.critic import UnnoticedLinear, ZeroLinear, initialise_unnoticed
from critic_gpt.hub.weights import WholeWeightsMixin
from critic_gpt.proofreading.mixin import ProofreadingMixin


logger = logging.get_logger(__name__)

# What a class is called that `critic_class` makes.
CLASS_SUFFIX = "WithCritic"


class MaskedLMWithCritic(
    TwoPassMixin,
    CalibratedModelMixin,
    CriticFolderMixin,
    WholeWeightsMixin,
    CriticGPTGenerationMixin,
    ProofreadingMixin,
):
    """
    Stands before a class of Transformers, whose weights, names and forward pass stay what they are. Made by
    [`get_critic_model`] and [`AutoModelForMaskedLMWithCritic`], never by hand.
    """

    # Of the stock class.
    device: torch.device
    post_init: Callable[[], None]
    named_children: Callable[[], Iterator[tuple[str, torch.nn.Module]]]
    critic_head: torch.nn.Module

    generation_config_class = CriticGPTGenerationConfig
    accepts_loss_kwargs = False
    # Of the heads this package has, the critic's is the one that needs nothing of the trunk but states and logits.
    joint_head = None

    def __init__(self, config, *args, **kwargs):
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        self.config = with_own_padding(self.config)
        self.offer_critic()
        self.add_critic_head()
        self.post_init()
        if config.critic_freeze:
            self.freeze_trunk()

    @classmethod
    def can_generate(cls) -> bool:
        """Yes, by `generate` of masked diffusion."""
        return True

    def add_critic_head(self) -> None:
        """Gives the model the fresh head that its configuration describes."""
        width = self.backbone.state_size
        if width is None:
            raise ValueError(
                f"`state_size` of `{DESCRIPTION}` must be the width of the model's states, got None: save the model "
                "again."
            )
        head = build_critic_head(self.config, width)
        # Code of others may make its weights in memory while the head is still without any, to be filled from a file.
        pending = any(weight.is_meta for weight in head.parameters())
        self.critic_head = head.to(device=None if pending else self.device, dtype=self.dtype)

    @torch.no_grad()
    def _init_weights(self, module) -> None:
        if isinstance(module, (ZeroLinear, UnnoticedLinear)):
            initialise_unnoticed(module, getattr(self.config, "initializer_range", 0.02))
            return
        super()._init_weights(module)  # type: ignore[misc]

    # ---- the two passes ----

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        loss_weights: torch.FloatTensor | None = None,
        fill_mask: torch.BoolTensor | None = None,
        fill_uniforms: torch.FloatTensor | None = None,
        given_mask: torch.BoolTensor | None = None,
        critic_pass: bool = True,
        critic_batch_share: float = 1.0,
        **kwargs,
    ) -> tuple | CriticGPTMaskedLMOutput:
        """
        As [`CriticGPTForMaskedLM`]'s, whose arguments and output these are, without `given_mask`: there is no joint
        head. Further arguments go to the stock class, whose logits are these.
        """
        reading = self.read(input_ids, attention_mask, **kwargs)
        fill = {"fill_mask": fill_mask, "fill_uniforms": fill_uniforms}
        return self.both_passes(reading, labels, loss_weights, fill, None, critic_pass, critic_batch_share, kwargs)

    def read(self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **inputs) -> Reading:
        """One pass of the stock class."""
        backbone = self.backbone
        inputs = {**inputs, "input_ids": input_ids, "attention_mask": backbone.mask_for_model(attention_mask)}
        # What says nothing is left out: not every class has a name for it.
        inputs = {name: value for name, value in inputs.items() if value is not None and value is not False}
        forward = super(MaskedLMWithCritic, type(self)).forward  # type: ignore[misc]
        try:
            states, logits, output = pass_of(self, forward, backbone.states_from, inputs)
        except (IndexError, RuntimeError) as error:
            longest = backbone.max_sequence_length
            if input_ids is None or longest is None or input_ids.shape[1] <= longest:
                raise
            raise ValueError(
                f"`input_ids` must be at most {longest} tokens, the longest sequence that a {type(self).__name__} "
                f"takes, frame included, got {input_ids.shape[1]}: cut the text."
            ) from error
        return Reading(
            self,
            input_ids,
            attention_mask,
            states,
            output.get("hidden_states"),
            output.get("attentions"),
            backbone.aligned(logits),
        )

    def language_model_learns(self) -> bool:
        """Whether a weight outside of the critic's head is trained."""
        return any(
            weight.requires_grad for name, weight in self.named_parameters() if not name.startswith(HEAD_PREFIX)
        )

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, *args, **kwargs
    ) -> torch.nn.Embedding:
        """As the parent's. Rows that `pad_to_multiple_of` adds belong to no token, and are never drawn."""
        resize = super().resize_token_embeddings  # type: ignore[misc]
        embedding = resize(new_num_tokens, pad_to_multiple_of, *args, **kwargs)
        rows = len(embedding.weight)
        setattr(self.config, DESCRIPTION, replace(self.backbone, vocab_size=rows).to_dict())
        if new_num_tokens is not None:
            self.config.drawable_vocab_size = new_num_tokens if new_num_tokens < rows else None
        return embedding

    def add_adapter(self, *args, **kwargs) -> None:
        """As the parent's, which freezes all but the adapter; the critic's head goes on learning beside it."""
        if not self.saved_alone(adapted=True):
            logger.warning(
                f"An adapter is saved beside the name of the model under it, and this {type(self).__name__} is none "
                "that its name alone loads: it will not be saved. Save the model without critic and adapter, load it "
                "from there, and give it both."
            )
        super().add_adapter(*args, **kwargs)  # type: ignore[misc]
        self.critic_head.requires_grad_(True)

    def load_adapter(self, *args, **kwargs):
        """As the parent's; the critic's head goes on learning beside it."""
        loaded = super().load_adapter(*args, **kwargs)
        self.critic_head.requires_grad_(True)
        return loaded

    # ---- frozen or not ----

    def freeze_trunk(self, untie: bool = False) -> None:
        """
        Freezes all but the critic's head, as [`CriticConfig`] with `freeze=True` does.

        Args:
            untie (`bool`, *optional*, defaults to `False`): For CriticGPT alone; refused here.
        """
        if untie:
            raise ValueError(
                "`untie` must be False for a model that is not CriticGPT, got True: its LM head is frozen with it."
            )
        self._set_frozen(True)

    def unfreeze_trunk(self) -> None:
        """Makes every weight trainable."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        self.config.critic_freeze = frozen
        for name, weight in self.named_parameters():
            if not name.startswith(HEAD_PREFIX):
                weight.requires_grad_(not frozen)

    def train(self, mode: bool = True):
        """As the parent's; dropout stays off in modules of which nothing learns, which are to stay what they are."""
        super().train(mode)  # type: ignore[misc]
        if mode:
            for name, child in self.named_children():
                if name != "critic_head" and not any(weight.requires_grad for weight in child.parameters()):
                    child.eval()
        return self


_CLASSES: dict[type, type] = {}


def critic_class(stock: type[PreTrainedModel]) -> type[MaskedLMWithCritic]:
    """
    The subclass of a model's class that has a critic: `BertForMaskedLMWithCritic` for `BertForMaskedLM`. The same one
    at every call.

    Args:
        stock (`type`): Of a masked language model.
    """
    if issubclass(stock, MaskedLMWithCritic):
        return stock
    if stock not in _CLASSES:
        body = {"__module__": __name__, "__doc__": f"{stock.__name__} with a critic.", "stock_class": stock}
        kept = {name: getattr(stock, name, None) for name in ("_keys_to_ignore_on_load_missing",)}
        body |= {name: value for name, value in kept.items() if value is not None}
        _CLASSES[stock] = types.new_class(
            stock.__name__ + CLASS_SUFFIX, (MaskedLMWithCritic, stock), exec_body=lambda space: space.update(body)
        )
    return _CLASSES[stock]


def __getattr__(name: str) -> Any:
    """The classes by their names, for pickles and for whoever reads `architectures`."""
    stock = getattr(transformers, name.removesuffix(CLASS_SUFFIX), None) if name.endswith(CLASS_SUFFIX) else None
    if stock is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return critic_class(stock)


def get_critic_model(
    model: PreTrainedModel, config: CriticConfig | None = None, tokenizer: Any = None
) -> PreTrainedModel:
    """
    Gives a masked language model a critic, in place: the model stays what it is, of a subclass of its class.

    Args:
        model ([`~transformers.PreTrainedModel`]): Any masked language model, as `AutoModelForMaskedLM` loads it.
        config ([`CriticConfig`], *optional*): What the critic is like; by default the model is frozen.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): The model's own, with a mask token; by
            default the one that lies where the model was loaded from.

    Returns:
        [`~transformers.PreTrainedModel`]: The same model, to be trained by [`CriticTrainer`].

    Raises:
        `ValueError`: No masked language model, a causal one, no mask token, or a tokenizer of another model.

    Example:

    ```python
    >>> tokenizer = AutoTokenizer.from_pretrained("answerdotai/ModernBERT-base")
    >>> model = AutoModelForMaskedLM.from_pretrained("answerdotai/ModernBERT-base")
    >>> model = get_critic_model(model, CriticConfig(freeze=True), tokenizer=tokenizer)
    ```
    """
    config = CriticConfig() if config is None else config
    check_takes_critic("model", model)
    if not isinstance(config, CriticConfig):
        raise ValueError(f"`config` must be a CriticConfig, got a {type(config).__name__}: write CriticConfig().")
    tokenizer = own_tokenizer(model) if tokenizer is None else tokenizer
    check_own_tokenizer(model, tokenizer)
    backbone = measured_backbone(model, tokenizer)
    take_backbone(model, backbone, tokenizer)
    attach_critic(model, config)
    model.remember_base(tokenizer)
    return model


def take_backbone(model: PreTrainedModel, backbone: Backbone, tokenizer: Any) -> None:
    """Writes into a model's configuration what its description and its tokenizer say, in place."""
    config = model.config
    setattr(config, DESCRIPTION, backbone.to_dict())
    keep_stock_padding(config, tokenizer.pad_token_id)
    for name in ("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config, name, getattr(tokenizer, name, None))
    config.suppressed_token_ids = config.drawable_vocab_size = None
    adopt_tokenizer(config, tokenizer)
    # What ends a frame ends no text within it.
    frame = {*backbone.prefix_ids, *backbone.suffix_ids} - {config.mask_token_id, config.pad_token_id}
    config.suppressed_token_ids = sorted({*(config.suppressed_token_ids or ()), *frame})


def attach_critic(model: PreTrainedModel, config: CriticConfig) -> None:
    """Makes a model, whose configuration describes its backbone, one with a fresh critic, in place."""
    config.write_into(model.config)
    model.__dict__["_stock_auto_map"] = dict(getattr(model.config, "auto_map", None) or {})
    model.__class__ = critic_class(type(model))
    model.offer_critic()
    model.generation_config = CriticGPTGenerationConfig()
    model.add_critic_head()
    for module in model.critic_head.modules():
        if isinstance(module, (ZeroLinear, UnnoticedLinear)):
            model._init_weights(module)
    if config.freeze:
        model.freeze_trunk()
    model.train(model.training)


__all__ = ["MaskedLMWithCritic", "critic_class", "get_critic_model"]
