# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The task "critic-diffusion": text with holes, a prefix or nothing in; text with error probabilities out.

Imports nothing of the package and reaches the model only as `self.model`, so that it runs from a folder on the hub.
"""

import copy
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset
from transformers import Pipeline


# How many tokens are generated where neither the call nor the model's generation configuration says.
DEFAULT_NEW_TOKENS = 256


class _NumberedPrompts(Dataset):
    """A dataset whose items know their place, from which a seeded call draws their randomness."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return {"prompt": self.dataset[index], "index": index}


class CriticDiffusionPipeline(Pipeline):
    """
    Generates text by masked diffusion and says of every token how likely it is wrong.

    Example:

    ```python
    >>> import critic_gpt
    >>> from transformers import pipeline

    >>> generate = pipeline("critic-diffusion", model="runs/demo/model")
    >>> result = generate("123456[MASK][MASK][MASK]...", num_steps=18, seed=0)
    >>> result["generated_text"], result["expected_errors"], result["forward_passes"]
    ```

    A call takes a text with `[MASK]` holes, a prefix to continue, `None` to start from nothing, a list of these, or a
    dataset or generator of these (also mappings with the key `prompt` or `text`), and returns for each a dictionary of
    plain Python values; for a dataset or generator an iterator over them:

    - `generated_text` (`str`): The finished text.
    - `tokens` (`list[str]`), `token_ids` (`list[int]`): Its tokens.
    - `error_probabilities` (`list[float]` or `None`): P(wrong) of each token, 0 for given ones; `None` without a
      trained critic.
    - `expected_errors` (`float` or `None`): Their sum.
    - `forward_passes`, `scoring_passes` (`int`): What the batch cost.
    - `history` (`list[dict]`, with `return_history=True` only): Every step: `input`, `filled` (`str`) and the
      positions that were masked again, `remasked` (`list[int]`).

    Args of a call:
        seed (`int`, *optional*): The same results for the same inputs, whatever the batch size.
        batch_size (`int`, *optional*, defaults to 1): Prompts a batch.
        max_new_tokens (`int`, *optional*): Length of what is generated, for prompts without `[MASK]`. By default that
            of the model's generation configuration, else 256 or as many as fit.
        kwargs: Every field of the model's generation configuration (`num_steps`, `remasking`, `temperature`, ...).
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True
    # The generation configuration of the model is a class of its own, which the parent would mistreat.
    _pipeline_calls_generate = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        config, mask_id = self.model.config, getattr(self.tokenizer, "mask_token_id", None)
        if mask_id is None or mask_id != config.mask_token_id or len(self.tokenizer) > config.vocab_size:
            size = 0 if self.tokenizer is None else len(self.tokenizer)
            raise ValueError(
                f"`tokenizer` must be the one the model was trained with, of at most {config.vocab_size} tokens with "
                f"[MASK] {config.mask_token_id}, got {size} tokens with [MASK] {mask_id}: save it beside the model or "
                "pass it."
            )

    def __call__(self, inputs: Any = None, **kwargs):
        if inputs is None or isinstance(inputs, (str, Mapping)):
            return super().__call__({"prompt": inputs, "index": 0}, **kwargs)
        if isinstance(inputs, (list, tuple)):
            numbered = [{"prompt": prompt, "index": index} for index, prompt in enumerate(inputs)]
            # The parent would look at the first one.
            return super().__call__(numbered, **kwargs) if numbered else []
        # A stream may tell its length and is read from its beginning all the same.
        stream = isinstance(inputs, IterableDataset)
        if not stream and hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
            return super().__call__(_NumberedPrompts(inputs), **kwargs)
        try:
            prompts = iter(inputs)
        except TypeError as error:
            raise ValueError(
                f"`inputs` must be a text, None, or a list, dataset or generator of these, got {inputs!r:.60}: pass "
                "one of these."
            ) from error
        return super().__call__(({"prompt": p, "index": i} for i, p in enumerate(prompts)), **kwargs)

    def _sanitize_parameters(self, seed: int | None = None, max_new_tokens: int | None = None, **kwargs):
        forward = dict(kwargs)
        if forward.get("return_dict_in_generate") is False:
            raise ValueError("`return_dict_in_generate` must be True in a pipeline, got False: leave it out.")
        if seed is not None:
            try:
                forward["seed"] = operator.index(seed)
            except TypeError as error:
                raise ValueError(f"`seed` must be a whole number, got {seed!r}: pass one, or none.") from error
        config = forward.get("generation_config")
        if getattr(config, "max_new_tokens", None) is not None:
            # It shapes the canvas, which `generate` gets complete.
            max_new_tokens = config.max_new_tokens if max_new_tokens is None else max_new_tokens
            forward["generation_config"] = config = copy.deepcopy(config)
            config.max_new_tokens = None
        return {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}, forward, {}

    def preprocess(self, inputs: dict[str, Any], max_new_tokens: int | None = None) -> dict[str, torch.Tensor]:
        prompt = self._text_of(inputs["prompt"])
        ids = self._encode(prompt)
        positions = self.model.config.max_position_embeddings
        if self.tokenizer.mask_token_id not in ids:
            if max_new_tokens is None:
                max_new_tokens = self.model.generation_config.max_new_tokens
            if max_new_tokens is None:
                max_new_tokens = min(DEFAULT_NEW_TOKENS, positions - len(ids))
            whole = isinstance(max_new_tokens, int) and not isinstance(max_new_tokens, bool)
            if not whole or max_new_tokens < 1 or len(ids) + max_new_tokens > positions:
                raise ValueError(
                    f"`max_new_tokens` must be a whole number from 1 that fits the model's {positions} positions, got "
                    f"{max_new_tokens!r} after a prompt of {len(ids)} tokens: shorten the prompt or generate fewer."
                )
            ids = ids + [self.tokenizer.mask_token_id] * max_new_tokens
        elif max_new_tokens is not None:
            raise ValueError(
                f"`max_new_tokens` is for prompts without [MASK], got {max_new_tokens} for {prompt!r:.60}: leave it "
                "out."
            )
        elif len(ids) > positions:
            raise ValueError(
                f"`inputs` must fit the model's {positions} positions, got a prompt of {len(ids)} tokens: shorten it."
            )
        return {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones((1, len(ids)), dtype=torch.long),
            "index": torch.tensor([inputs["index"]]),
        }

    def _text_of(self, prompt: Any) -> str:
        """The text of one prompt, "" to start from nothing."""
        if isinstance(prompt, Mapping):
            keys = [key for key in ("prompt", "text") if key in prompt]
            if not keys:
                raise ValueError(
                    f"`inputs` must have the key `prompt` or `text` where they are mappings, got the keys "
                    f"{', '.join(map(repr, prompt)) or 'of an empty one'}: rename the one that holds the text."
                )
            prompt = prompt[keys[0]]
        if prompt is not None and not isinstance(prompt, str):
            raise ValueError(f"`inputs` must be texts or None, got {prompt!r:.60}: pass a text.")
        return prompt or ""

    def _encode(self, text: str) -> list[int]:
        """Ids of the prompt; characters the tokenizer would drop or replace by its unknown token are an error."""
        if not text:
            return []
        tokenizer = self.tokenizer
        options = {"add_special_tokens": False, "return_offsets_mapping": tokenizer.is_fast, "verbose": False}
        unknown: set[str] = set()
        try:
            encoding = tokenizer(text, **options)
        except Exception:  # what a fast tokenizer without an unknown token raises has no class of its own
            known = text
            for token in tokenizer.all_special_tokens:
                known = known.replace(token, "")
            unknown = set(known) - tokenizer.get_vocab().keys()
            if not unknown:
                raise
        else:
            ids = encoding["input_ids"]
            if tokenizer.is_fast:
                unknown = self._uncovered(text, ids, encoding["offset_mapping"])
            elif tokenizer.unk_token_id in ids:
                pieces = tokenizer.tokenize(text)
                unknown = {p for p in pieces if tokenizer.convert_tokens_to_ids(p) == tokenizer.unk_token_id}
        if unknown:
            raise ValueError(
                f"`inputs` must consist of what the tokenizer knows, got {', '.join(map(repr, sorted(unknown)))}: "
                "leave these out or replace them."
            )
        return ids

    def _uncovered(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> set[str]:
        """Pieces of the text that became the unknown token or no token at all; white space may vanish."""
        covered, unknown = set(), set()
        for token, (start, end) in zip(ids, offsets, strict=True):
            # Written out, the unknown token is known.
            if token == self.tokenizer.unk_token_id and text[start:end] != self.tokenizer.unk_token:
                unknown.add(text[start:end])
            covered.update(range(start, end))
        return unknown | {c for i, c in enumerate(text) if i not in covered and not c.isspace()}

    def _forward(self, model_inputs: dict[str, torch.Tensor], seed: int | None = None, **generate_kwargs):
        attention_mask = model_inputs["attention_mask"]
        # Padding goes to the end, or the random numbers of a token would depend on the lengths of its neighbours.
        order = attention_mask.argsort(dim=-1, descending=True, stable=True)
        input_ids, attention_mask = model_inputs["input_ids"].gather(-1, order), attention_mask.gather(-1, order)
        seeds = None if seed is None else [((seed % 2**30) << 32) + i for i in model_inputs["index"].tolist()]
        output = self.model.generate(
            input_ids, attention_mask, **{**generate_kwargs, "seed": seeds, "return_dict_in_generate": True}
        )
        batch_size = len(output.sequences)
        result = {
            "sequences": output.sequences,
            # Not the mask of the canvas: what follows a generated EOS has become padding.
            "attention_mask": self._real_tokens(input_ids, output.sequences) & attention_mask.bool(),
            "forward_passes": torch.full((batch_size,), output.forward_passes),
            "scoring_passes": torch.full((batch_size,), output.scoring_passes),
        }
        if output.error_probabilities is not None:
            result["error_probabilities"] = output.error_probabilities
        if output.history is not None:
            steps = [torch.stack([s.input_ids, s.filled, s.remasked.long()], dim=1) for s in output.history]
            result["history"] = torch.stack(steps, dim=1)  # (B, steps, 3, T)
        return result

    def _real_tokens(self, canvas: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
        """Where no hole of the canvas has become padding."""
        pads = [i for i in (self.tokenizer.pad_token_id, self.model.config.pad_token_id) if i is not None]
        cut = torch.isin(sequences, torch.tensor(pads, dtype=sequences.dtype, device=sequences.device))
        return ~(cut & (canvas == self.tokenizer.mask_token_id))

    def postprocess(self, model_outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        # Here one item at a time; the parent's iterator keeps a leading dimension of one.
        history = model_outputs.get("history")
        rows = {name: value.reshape(-1) for name, value in model_outputs.items() if name != "history"}
        real = rows["attention_mask"]
        ids = rows["sequences"][real].tolist()
        probabilities = None
        if "error_probabilities" in rows:
            probabilities = rows["error_probabilities"][real].tolist()
        result = {
            "generated_text": self.tokenizer.decode(ids),
            "tokens": self.tokenizer.convert_ids_to_tokens(ids),
            "token_ids": ids,
            "error_probabilities": probabilities,
            "expected_errors": None if probabilities is None else sum(probabilities),
            "forward_passes": int(rows["forward_passes"]),
            "scoring_passes": int(rows["scoring_passes"]),
        }
        if history is not None:
            result["history"] = [
                {
                    "input": self.tokenizer.decode(before[real]),
                    "filled": self.tokenizer.decode(filled[real]),
                    "remasked": remasked[real].nonzero().flatten().tolist(),
                }
                for before, filled, remasked in history.reshape(-1, 3, len(real))
            ]
        return result
