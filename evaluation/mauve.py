# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""MAUVE of samples against held-out text, by the states of any model: needs the extra `critic_gpt[mauve]`."""

import importlib.util
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from critic_gpt.backbones.exceptions import longest_sequence


MAUVE = "mauve"
# Of a text, by models that take any length.
MOST_TOKENS = 1024


class Mauve:
    """
    The area under the divergence frontier of two samples of texts, each text as the last state that a model gives it
    (Pillutla et al., "MAUVE: Measuring the Gap Between Neural Text and Human Text", 2021): 1 for texts of one
    distribution; higher is better. It falls with the number of texts: compare equal numbers, by one model.

    Args:
        name_or_path (`str`): Of a model and its tokenizer, for `AutoModel`: larger ones say more. Texts are cut to
            what it takes.
        device (`torch.device`, *optional*): Where it computes.
        batch_size (`int`, *optional*, defaults to 32): Texts at a time.

    Raises:
        `ImportError`: `mauve-text` is not installed.
        `ValueError`: The model does not load.
    """

    def __init__(self, name_or_path: str, device: str | torch.device = "cpu", batch_size: int = 32):
        check_mauve()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name_or_path)
            self.model = AutoModel.from_pretrained(name_or_path).to(device).eval()
        except Exception as error:  # whatever the loader, the network or the files raise
            raise ValueError(
                f"`mauve` must be the name or folder of a model with its tokenizer, got {name_or_path!r}, which did "
                f"not load ({' '.join(str(error).split())[:200]}): check the name."
            ) from error
        if self.model.config.is_encoder_decoder:
            self.model = self.model.get_encoder()
        # What stands behind a text is not looked at, so any token pads.
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)
        self.longest = min(longest_sequence(self.model.config) or MOST_TOKENS, self.tokenizer.model_max_length)
        self.name, self.batch_size = str(name_or_path).rstrip("/").rpartition("/")[2], batch_size

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> np.ndarray:
        """The last state of each text (N, D)."""
        found = []
        for begin in range(0, len(texts), self.batch_size):
            some = [text or " " for text in texts[begin : begin + self.batch_size]]
            inputs = self.tokenizer(
                some, return_tensors="pt", padding=True, padding_side="right", truncation=True, max_length=self.longest
            ).to(self.model.device)
            inputs.pop("token_type_ids", None)
            states = self.model(**inputs)[0].float()  # (B, T, D)
            last = inputs["attention_mask"].sum(dim=-1).clamp(min=1) - 1
            found.append(states[torch.arange(len(states)), last].cpu())
        return torch.cat(found).numpy()

    def judge(self, texts: Sequence[str], real_texts: Sequence[str]) -> float:
        """MAUVE of texts against real ones, the same number of each, at least two."""
        number = min(len(texts), len(real_texts))
        if number < 2:
            raise ValueError(f"`texts` must be at least 2 beside as many real ones, got {number}: generate more.")
        import mauve

        states = self.states([*texts[:number], *real_texts[:number]])
        result: SimpleNamespace = mauve.compute_mauve(
            p_features=states[:number], q_features=states[number:], verbose=False, seed=25
        )
        return float(result.mauve)


def check_mauve() -> None:
    """Refuses where the library is missing, before hours of work whose result it is to measure."""
    if importlib.util.find_spec("mauve") is None:
        raise ImportError(
            "mauve-text must be installed to measure MAUVE, got none: run `pip install critic_gpt[mauve]`, or leave "
            "out --mauve."
        )
