# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""CriticGPT: the models on its trunk, each with its heads.

Letters: B batch, T positions, V vocabulary, D width.
"""

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.modeling_outputs import ModelOutput, SequenceClassifierOutput, TokenClassifierOutput
from transformers.processing_utils import Unpack
from transformers.utils import auto_docstring, logging
from transformers.utils.generic import TransformersKwargs, can_return_tuple

from critic_gpt.calibration.model import CalibratedModelMixin
from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.critic_model.joint_head import JointHeadMixin
from critic_gpt.critic_model.two_passes import Reading
from critic_gpt.diffusion.loss_terms import CriticGPTMaskedLMOutput
from critic_gpt.diffusion.losses import token_classification_loss
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.generate import CriticGPTGenerationMixin
from critic_gpt.generation.pass_output import PassOutput
from critic_gpt.heads.building import build_critic_head
from critic_gpt.heads.critic import SequenceScoreHead
from critic_gpt.heads.joint import JointHead
from critic_gpt.proofreading.mixin import ProofreadingMixin

# The layers too can be imported from here, as from the modeling file of any model.
from critic_gpt.trunk.attention import CriticGPTAttention, CriticGPTRotaryEmbedding  # noqa: F401
from critic_gpt.trunk.blocks import CriticGPTLayer, CriticGPTMLP  # noqa: F401
from critic_gpt.trunk.model import CriticGPTModel, Layout, first_real_position
from critic_gpt.trunk.pretrained import CriticGPTPreTrainedModel


logger = logging.get_logger(__name__)


# --------------------------------------------------------------------------------------------------------------------
# Masked diffusion language model with a critic
# --------------------------------------------------------------------------------------------------------------------


@auto_docstring(custom_intro="CriticGPT with a language model head and, if configured, a critic head.")
class CriticGPTForMaskedLM(
    JointHeadMixin, CalibratedModelMixin, CriticGPTGenerationMixin, ProofreadingMixin, CriticGPTPreTrainedModel
):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    # A checkpoint with a critic loads cleanly into a configuration without one, or with one of the other kind.
    _keys_to_ignore_on_load_unexpected = [r"critic_head\.(weight|dense\.|states\.|output\.)", r"joint_head\."]
    generation_config_class = CriticGPTGenerationConfig

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.model = CriticGPTModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.critic_head = None
        if config.add_critic_head:
            self.critic_head = build_critic_head(config, config.hidden_size)
            logger.info(f"Critic head on, critic_alpha = {config.critic_alpha}.")
        self.joint_head = JointHead(config) if config.add_joint_head else None
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        loss_weights: torch.FloatTensor | None = None,
        fill_mask: torch.BoolTensor | None = None,
        fill_uniforms: torch.FloatTensor | None = None,
        given_mask: torch.BoolTensor | None = None,
        critic_pass: bool = True,
        critic_batch_share: float = 1.0,
        joint_batch_share: float = 1.0,
        return_logits: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | CriticGPTMaskedLMOutput:
        r"""
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            The truth at the positions to predict, -100 elsewhere. Not shifted.
        loss_weights (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Factor on each token's cross-entropy, such as 1/t of the diffusion loss. With it `lm_loss` is divided by
            the number of real tokens (the diffusion bound, in nats per token), without it by the number of labels.
        fill_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Which masks are filled for the critic. Without it: all in evaluation, by `critic_regime` in training.
        fill_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Numbers in (0, 1) that decide the filling. Without them: argmax in evaluation, drawn in training.
        given_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Of which masks the joint head is told the truth. Without it: drawn in training, and no loss of the joint
            head in evaluation.
        critic_pass (`bool`, *optional*, defaults to `True`):
            `False` skips the second pass, as in the first steps of an alpha warm-up.
        critic_batch_share (`float`, *optional*, defaults to 1.0):
            Share of the rows, in (0, 1] and rounded up, that the second pass is made of; evenly spread over the batch.
            In the others nothing is filled and nothing judged.
        joint_batch_share (`float`, *optional*, defaults to 1.0):
            Share of the rows, in (0, 1] and rounded up, in which the joint head is asked for masks; evenly spread over
            the batch.
        return_logits (`bool`, *optional*, defaults to `True`):
            `False` leaves the logits out. With `labels` the losses are the same to rounding, and the LM head sees the
            positions that they read alone (all under `torch.compile`); there are no `critic_logits` either. Without
            `labels` the states are given in place of the logits: for whoever wants `lm_logits` of some positions.
        """
        inputs = {"position_ids": position_ids, "inputs_embeds": inputs_embeds, **kwargs}
        reading = self.read(input_ids, attention_mask, **inputs)
        if labels is None and not return_logits:
            return self.judged(reading, position_ids)
        fill = {"fill_mask": fill_mask, "fill_uniforms": fill_uniforms}
        return self.both_passes(
            reading,
            labels,
            loss_weights,
            fill,
            given_mask,
            critic_pass,
            critic_batch_share,
            inputs,
            joint_batch_share,
            return_logits,
        )

    def read(self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **inputs) -> Reading:
        """One pass of the trunk."""
        inputs = {**inputs, "input_ids": input_ids, "attention_mask": attention_mask, "return_dict": True}
        outputs = self.model(**inputs)
        found = outputs.last_hidden_state, outputs.hidden_states, outputs.attentions
        return Reading(self, input_ids, attention_mask, *found)

    def lm_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Predictions (..., V) by states (..., D)."""
        return self.lm_head(states)

    @property
    def forward_is_ours(self) -> bool:
        """Whether a forward pass is what it is here: nobody wrote another one, or hooked something on it."""
        own = type(self).forward is CriticGPTForMaskedLM.forward and "forward" not in vars(self)
        return own and not (self._forward_hooks or self._forward_pre_hooks)

    @property
    def losses_need_no_logits(self) -> bool:
        """Whether `forward` takes `return_logits=False` beside labels: nobody wrote another one."""
        return type(self).forward is CriticGPTForMaskedLM.forward

    @property
    def takes_bare_passes(self) -> bool:
        """Whether that holds of the trunk and of every layer too, none of which is of a class from elsewhere."""
        methods = (type(self).forward, type(self).read, type(self.model).forward)
        if methods != _PASSES or any("forward" in vars(module) for module in (self, self.model)):
            return False
        rotary = self.model.rotary_emb
        if rotary is not None and rotary.rope_type != "default":  # others may change with what they see
            return False
        return all(_is_plain(module) for module in self.modules())

    def bare_pass(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None,
        layout: Layout,
        with_logits: bool = True,
        with_joint: bool = True,
        past_key_values: Cache | None = None,
    ) -> PassOutput:
        """
        What `forward` gives, bit by bit, without what Transformers does around it: a third of a millisecond, which is
        much where a pass takes five.

        Args:
            input_ids, attention_mask: As for `forward`.
            layout ([`Layout`]): Of their places, as [`CriticGPTForMaskedLM.layout_for`] gives it.
            with_logits, with_joint (`bool`): Whether predictions, and what the joint head relates, are made.
            past_key_values ([`BlockCache`], *optional*): Keys and values of tokens that are not among `input_ids`.
        """
        kept = {} if past_key_values is None else {"past_key_values": past_key_values}
        states = self.model.through_layers(self.model.embed_tokens(input_ids), layout, **kept)
        reading = Reading(self, input_ids, attention_mask, states)
        if with_logits:
            reading.given_logits = self.lm_logits(states)
        joint = None, None
        if with_joint and self.joint_head is not None:
            joint = self.joint_head(states, layout.position_ids, layout.vectors)
        critic_logits = None if self.critic_head is None else reading.verdict()
        return PassOutput(reading.given_logits, critic_logits, states, *joint)

    def layout_for(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
    ) -> Layout:
        """What passes over tokens (B, T) with this mask know of their places, given or counted."""
        vectors = self.model.embed_tokens(input_ids)
        position_ids = self.model.place(vectors, attention_mask, position_ids)
        return self.model.lay_out(vectors, attention_mask, position_ids, past_key_values)

    def language_model_learns(self) -> bool:
        """Whether a term of the language model reaches a trainable weight."""
        return self.lm_head.weight.requires_grad or any(weight.requires_grad for weight in self.model.parameters())


# The passes as they are written here, by which it shows whether somebody put others in their place.
_PASSES = CriticGPTForMaskedLM.forward, CriticGPTForMaskedLM.read, CriticGPTModel.forward
# Whose layers do what they say, and keep nothing of what they saw.
_PLAIN_CLASSES = ("torch.nn.modules.", "transformers.activations")


def _is_plain(module: nn.Module) -> bool:
    """Whether a layer is one of ours, of torch or of Transformers, with nothing hooked on it."""
    home = type(module).__module__
    ours = home.startswith(_PLAIN_CLASSES) or home.split(".")[0] == __name__.split(".")[0]
    hooked = module._forward_hooks or module._forward_pre_hooks or module._compiled_call_impl is not None
    weights = (weight for weight in module._parameters.values() if weight is not None)
    return ours and not hooked and all(type(weight) is nn.Parameter for weight in weights)


# --------------------------------------------------------------------------------------------------------------------
# Token classification and sequence scoring
# --------------------------------------------------------------------------------------------------------------------


class CriticGPTClassifier(CriticGPTPreTrainedModel):
    """A trunk with a classifying or scoring head on it: what both classes below share."""

    output_class: type[ModelOutput]

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = CriticGPTModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """The head's logits for the states (B, T, D) of the trunk."""
        raise NotImplementedError

    def labelled_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of these logits."""
        raise NotImplementedError

    def classify(
        self,
        input_ids: torch.LongTensor | None,
        attention_mask: torch.Tensor | None,
        labels: torch.Tensor | None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ModelOutput:
        """The forward pass of every subclass, whose own `forward` carries its signature and its documentation."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        logits = self.judge(outputs.last_hidden_state, attention_mask)
        loss = None if labels is None else self.labelled_loss(logits, labels)
        return self.output_class(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


@auto_docstring
class CriticGPTForTokenClassification(CriticGPTClassifier):
    output_class = TokenClassifierOutput

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | TokenClassifierOutput:
        r"""
        labels (`torch.Tensor`, *optional*):
            Classes `(batch_size, sequence_length)` with -100 (or, in old data, -1) where ignored, or probabilities
            `(batch_size, sequence_length, num_labels)` with all zeros where ignored.
        """
        kwargs |= {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        return self.classify(input_ids, attention_mask, labels, **kwargs)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Logits `(batch_size, sequence_length, num_labels)` of every token."""
        return self.classifier(self.dropout(states))

    def labelled_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The cross-entropy over the tokens that have a label."""
        return token_classification_loss(logits, labels, self.config.balanced_class_weights)


@auto_docstring(
    custom_intro="""
    CriticGPT judging whole sequences from the state of the first real token. With `num_labels=1` it is a scorer:
    `logits` are scores in (0, 1), trained by mean squared error towards targets in [0, 1]; with more labels a
    classifier.
    """
)
class CriticGPTForSequenceClassification(CriticGPTClassifier):
    output_class = SequenceClassifierOutput

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        if config.num_labels == 1:
            self.score = SequenceScoreHead(config.hidden_size)
        else:
            self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | SequenceClassifierOutput:
        r"""
        labels (`torch.Tensor`, *optional*):
            Scores in [0, 1] of shape `(batch_size,)` with `num_labels=1`; classes `(batch_size,)`, or a 0/1 matrix
            `(batch_size, num_labels)`, otherwise.
        """
        kwargs |= {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        return self.classify(input_ids, attention_mask, labels, **kwargs)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Scores or logits `(batch_size, num_labels)` of every sequence."""
        first = 0 if attention_mask is None else first_real_position(attention_mask)
        # Not `len(states)`, which would make the batch size a constant of an exported program.
        return self.score(self.dropout(states[torch.arange(states.shape[0], device=states.device), first]))

    def labelled_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The squared error of scores; of classes the cross-entropy, of a 0/1 matrix the binary one."""
        if self.num_labels == 1:
            return nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype).view(-1))
        if labels.shape == logits.shape:
            return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels.view(-1))


__all__ = [
    "CriticGPTForMaskedLM",
    "CriticGPTForSequenceClassification",
    "CriticGPTForTokenClassification",
    "CriticGPTModel",
    "CriticGPTPreTrainedModel",
]
