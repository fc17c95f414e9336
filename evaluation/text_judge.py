# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A judge of generated text that shares no text with the model: a small causal model of the GPT-2 architecture.

Repetition wins every count of known words. What it says of a text is compared with what it says of real text: fewer
bits per character than those are no better text but a more monotonous one.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    get_cosine_schedule_with_warmup,
)

from critic_gpt.hub.looking import look_at_folder
from critic_gpt.hub.vocabulary import read_tokenizer
from critic_gpt.tasks import encode_strict


# Small enough for minutes on one core, large enough to tell words from letters (docs/experiments/text.md).
WIDTH, LAYERS, HEADS, INITIALIZER_RANGE = 128, 4, 4, 0.06
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY = 4e-3, 50, 0.1


class TextJudge:
    """
    Says how many bits per character a text costs.

    Args:
        model ([`~transformers.GPT2LMHeadModel`]): Reads the padding token, then the text from its beginning.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): That of the data, with a padding token.
    """

    def __init__(self, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase):
        if model.config.vocab_size != len(tokenizer):
            raise ValueError(
                f"`judge` must know the {len(tokenizer)} tokens of the data, got a model of "
                f"{model.config.vocab_size}: train one on this very data (--train_judge)."
            )
        self.model, self.tokenizer = model.eval(), tokenizer

    @classmethod
    def train(
        cls,
        rows: Iterable[Sequence[int]],
        tokenizer: PreTrainedTokenizerBase,
        sequence_length: int,
        num_steps: int = 600,
        batch_size: int = 16,
        seed: int = 0,
        device: str | torch.device = "cpu",
        on_step: Callable[[], object] | None = None,
    ) -> "TextJudge":
        """
        Trains a judge; the same arguments give the same judge on the same machine, and nothing else is touched.

        Args:
            rows (`Iterable[Sequence[int]]`): Token ids in the order of the text, which the model to be judged has not
                seen. Windows that begin anywhere in it are drawn at random.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the rows.
            sequence_length (`int`): Tokens of a window.
            num_steps, batch_size (`int`, *optional*): Steps of the optimizer, and windows in each.
            seed (`int`, *optional*, defaults to 0): Of weights and windows.
            device (*optional*, defaults to the CPU).
            on_step (callable, *optional*): Called after each step of the optimizer.

        Raises:
            `ValueError`: Less text than one window, no padding token, or a number below 1.
        """
        tokens = torch.as_tensor(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))
        for name, value in (("num_steps", num_steps), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}: give 1 or more.")
        if len(tokens) < sequence_length or tokenizer.pad_token_id is None:
            raise ValueError(
                f"`rows` must hold at least a window of {sequence_length} tokens, and the tokenizer a padding token, "
                f"got {len(tokens)} tokens and {tokenizer.pad_token!r}: keep a larger share (--judge_share)."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = GPT2LMHeadModel(_config(tokenizer, sequence_length)).to(device).train()
        draw = torch.Generator().manual_seed(seed)
        parameters = model.parameters()
        optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)
        schedule = get_cosine_schedule_with_warmup(optimizer, min(WARMUP_STEPS, num_steps), num_steps)
        window = torch.arange(sequence_length)
        for _ in range(num_steps):
            start = torch.randint(len(tokens) - sequence_length + 1, (batch_size, 1), generator=draw)
            loss = _token_losses(model, tokens[start + window].to(device), tokenizer.pad_token_id).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if on_step is not None:
                on_step()
        return cls(model, tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> "TextJudge":
        """Loads what `save_pretrained` wrote.

        Raises:
            `ValueError`: No such folder, or no judge in it.
        """
        try:
            look_at_folder(folder)
            kind = AutoConfig.from_pretrained(folder).model_type
            if kind == "gpt2":
                return cls(GPT2LMHeadModel.from_pretrained(folder), read_tokenizer(folder))
            reason = f"a model of type {kind!r}"
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"`judge` must be the folder of a judge, got {Path(folder).name!r} ({reason}): train one by --train_judge."
        )

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Writes the model and the tokenizer into a folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @torch.no_grad()
    def bits_per_character(self, texts: Sequence[str], batch_size: int = 64) -> float:
        """
        The cross-entropy of texts: bits of all their tokens, divided by all their characters.

        Args:
            texts (`Sequence[str]`): At least one character in all; every text is judged from its beginning, without
                the one before. One longer than a window is cut into windows.
            batch_size (`int`, *optional*, defaults to 64): Windows at a time; changes no more than rounding.

        Raises:
            `ValueError`: No text, or characters that a tokenizer without an unknown token does not know. With one they
                are that token, as in the text that the judge has learnt from: what a model writes need not be what its
                tokenizer makes of any text, as where it begins with the rest of a word ("##ing").
        """
        longest, pad_id = self.model.config.n_positions - 1, self.tokenizer.pad_token_id
        rows = [self._encoded(text) for text in texts if text]
        if not rows:
            raise ValueError("`texts` must hold at least one character to judge, got none; generate some first.")
        pieces = [row[start : start + longest] for row in rows for start in range(0, len(row), longest)]
        pieces.sort(key=len)  # little padding
        nats = []
        for start in range(0, len(pieces), batch_size):
            part = [torch.tensor(piece) for piece in pieces[start : start + batch_size]]
            ids = torch.nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=-1).to(self.model.device)
            losses = _token_losses(self.model, ids.clamp(min=0), pad_id).double()
            nats.append(float(losses.masked_fill(ids < 0, 0.0).sum()))
        return math.fsum(nats) / math.log(2) / sum(map(len, texts))

    def _encoded(self, text: str) -> list[int]:
        if self.tokenizer.unk_token is None:
            return encode_strict(self.tokenizer, text)
        options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        return self.tokenizer(text, **options)["input_ids"]


def _config(tokenizer: PreTrainedTokenizerBase, sequence_length: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=sequence_length + 1,  # the padding token before the text
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=INITIALIZER_RANGE,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=None,
    )


def _token_losses(model: GPT2LMHeadModel, ids: torch.Tensor, first_id: int) -> torch.Tensor:
    """Cross-entropy in nats of each token of `ids` (B, T), given those before it and `first_id` before all: (B, T)."""
    before = torch.nn.functional.pad(ids[:, :-1], (1, 0), value=first_id)
    logits = model(input_ids=before).logits.float()
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
