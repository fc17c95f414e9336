# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The second training pass of a masked diffusion model with a critic: which rows it is made of, and what it gives.

Nothing here knows a model class: the trunk and the heads come in as functions. Letters: B batch, T positions,
V vocabulary, D width.
"""

import math
from collections.abc import Callable

import torch

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.diffusion.loss_terms import SecondPass, corrects, second_pass_losses
from critic_gpt.diffusion.places import Places


def second_pass_rows(batch_size: int, share: float, name: str = "critic_batch_share") -> list[int]:
    """
    The rows of a batch that the second pass is made of: `ceil(share * batch_size)`, spread evenly, so that they keep
    the spread of the diffusion times over the batch. Known from the size alone, so shapes are static. `name` is what
    the share is called in an error.

    Raises:
        `ValueError`: `share` is outside of (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"`{name}` must be in (0, 1], got {share}: 1 takes every row.")
    num_rows = math.ceil(share * batch_size - 1e-9)  # 0.07 * 100 is a little more than 7
    return [row * batch_size // num_rows for row in range(num_rows)]


def critic_second_pass(
    encode: Callable[[torch.Tensor], torch.Tensor],
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    critic_head: Callable[[torch.Tensor], torch.Tensor],
    input_ids: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    fill_mask: torch.Tensor | None,
    fill_uniforms: torch.Tensor | None,
    config: CriticGPTConfig,
    correct: bool = True,
    num_tokens: torch.Tensor | None = None,
    places: Places | None = None,
) -> dict[str, torch.Tensor]:
    """
    Fills masks with the model's own predictions, encodes the result and judges it: the critic's loss and, with
    `correct`, those of the LM head towards the truth that weigh something. Knows no model class: `encode` maps ids
    (B, T) to states (B, T, D). `num_tokens` (B,), needed for `remaining_alpha > 0`, is what each row counts in the
    language model's loss. With `places` the logits (N, V) are those of these positions, and `lm_head` is asked for
    positions that a term reads alone: states (n, D).
    """
    artifacts = build_critic_artifacts_from_logits(
        input_ids,
        logits,
        labels,
        config.mask_token_id,
        pad_token_id=config.pad_token_id,
        scope=config.critic_target_scope,
        fill=config.critic_fill if fill_uniforms is not None else "argmax",
        fill_mask=fill_mask,
        fill_uniforms=fill_uniforms,
        suppressed_token_ids=never_drawn_ids(config),
        places=places,
    )
    # A statement, not an expression: torch.compile may hold the weights as symbols, which it compares only in an `if`.
    lm_terms = False
    if correct and corrects(config):
        lm_terms = True
    # A detached critic alone asks nothing of the trunk's gradients.
    with torch.set_grad_enabled(torch.is_grad_enabled() and (lm_terms or not config.critic_detach)):
        hidden_states = encode(artifacts.critic_input)
    critic_logits = critic_head(hidden_states.detach() if config.critic_detach else hidden_states)
    critic_logits = critic_logits.to(torch.promote_types(critic_logits.dtype, torch.float32))
    judged = SecondPass(input_ids, labels, artifacts, critic_logits, num_tokens, config)
    if lm_terms:
        if places is not None:
            judged.places = judged.predicted()
            hidden_states = judged.places.take(hidden_states)
        judged.logits = lm_head(hidden_states)
        judged.first_logits, judged.first_places = logits, places
    return {
        "critic_input_ids": artifacts.critic_input,
        "critic_input_logits": critic_logits,
        "critic_target": artifacts.critic_target,
        "critic_valid": artifacts.critic_valid,
        **second_pass_losses(judged),
    }
