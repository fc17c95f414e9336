# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The task "critic-diffusion": text with holes, a prefix or nothing in; text with error probabilities out.

Imports nothing of the package and reaches the model only as `self.model`, so that it runs from a folder on the hub.
"""

from typing import Any

import torch
from torch.utils.data import Dataset
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
    dataset or generator of these (also mappings with the key `text` or `prompt`), and returns for each a dictionary of
    plain Python values:

    - `generated_text` (`str`): The finished text.
    - `tokens` (`list[str]`), `token_ids` (`list[int]`): Its tokens.
    - `error_probabilities` (`list[float]` or `None`): P(wrong) of each token, 0 for given ones; `None` without a
      trained critic.
    - `expected_errors` (`float` or `None`): Their sum.
    - `forward_passes`, `scoring_passes` (`int`): What it cost.

    Args of a call:
        seed (`int`, *optional*): The same results for the same inputs, whatever the batch size.
        batch_size (`int`, *optional*, defaults to 1): Prompts a batch.
        kwargs: Every field of the model's generation configuration (`num_steps`, `remasking`, `temperature`, ...).
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True
    # The generation configuration of the model is a class of its own, which the parent would mistreat.
    _pipeline_calls_generate = False

    def __call__(self, inputs: Any = None, **kwargs):
        if isinstance(inputs, (list, tuple)):
            return super().__call__([{"prompt": p, "index": i} for i, p in enumerate(inputs)], **kwargs)
        if inputs is None or isinstance(inputs, (str, dict)):
            return super().__call__({"prompt": inputs, "index": 0}, **kwargs)
        if hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
            return super().__call__(_NumberedPrompts(inputs), **kwargs)
        return super().__call__(({"prompt": p, "index": i} for i, p in enumerate(inputs)), **kwargs)

    def _sanitize_parameters(self, seed: int | None = None, max_new_tokens: int | None = None, **kwargs):
        preprocess = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
        forward = dict(kwargs) if seed is None else {"seed": seed, **kwargs}
        return preprocess, forward, {}

    def preprocess(self, inputs: dict[str, Any], max_new_tokens: int | None = None) -> dict[str, torch.Tensor]:
        prompt = inputs["prompt"]
        if isinstance(prompt, dict):
            prompt = prompt.get("prompt", prompt.get("text"))
        ids = self._encode(prompt or "")
        mask_id = self.tokenizer.mask_token_id
        if mask_id not in ids:
            positions = self.model.config.max_position_embeddings
            if max_new_tokens is None:
                max_new_tokens = self.model.generation_config.max_new_tokens
            if max_new_tokens is None:
                max_new_tokens = min(DEFAULT_NEW_TOKENS, positions - len(ids))
            if max_new_tokens < 1 or len(ids) + max_new_tokens > positions:
                raise ValueError(
                    f"`max_new_tokens` must be at least 1 and fit the model's {positions} positions, got "
                    f"{max_new_tokens} after a prompt of {len(ids)} tokens: shorten the prompt or generate fewer."
                )
            ids = ids + [mask_id] * max_new_tokens
        elif max_new_tokens is not None:
            raise ValueError(
                f"`max_new_tokens` is for prompts without [MASK], got {max_new_tokens} for {prompt!r}: leave it out."
            )
        return {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones((1, len(ids)), dtype=torch.long),
            "index": torch.tensor([inputs["index"]]),
        }

    def _encode(self, text: str) -> list[int]:
        """Ids of the prompt; characters the tokenizer would drop or replace by its unknown token are an error."""
        if not text:
            return []
        encoding = self.tokenizer(text, return_offsets_mapping=self.tokenizer.is_fast, add_special_tokens=False)
        ids = encoding["input_ids"]
        unknown: set[str] = set()
        if self.tokenizer.is_fast:
            covered = set()
            for token, (start, end) in zip(ids, encoding["offset_mapping"], strict=True):
                if token == self.tokenizer.unk_token_id:
                    unknown.add(text[start:end])
                covered.update(range(start, end))
            unknown |= {c for i, c in enumerate(text) if i not in covered and not c.isspace()}
        elif self.tokenizer.unk_token_id in ids:
            unknown.add(self.tokenizer.unk_token)
        if unknown:
            raise ValueError(
                f"`inputs` must consist of what the tokenizer knows, got {', '.join(map(repr, sorted(unknown)))}: "
                "leave these out or replace them."
            )
        return ids

    def _forward(self, model_inputs: dict[str, torch.Tensor], seed: int | None = None, **generate_kwargs):
        index = model_inputs.pop("index")
        seeds = None if seed is None else [((seed % 2**30) << 32) + i for i in index.tolist()]
        # The canvas is complete: a number of new tokens in the model's own configuration has been used already.
        config = self.model.generation_config
        kept, config.max_new_tokens = config.max_new_tokens, None
        try:
            output = self.model.generate(**model_inputs, seed=seeds, **generate_kwargs)
        finally:
            config.max_new_tokens = kept
        if isinstance(output, torch.Tensor):
            raise ValueError("`return_dict_in_generate` must be True in a pipeline, got False: leave it out.")
        batch_size = len(output.sequences)
        result = {
            "sequences": output.sequences,
            # Not the mask of the canvas: what follows a generated EOS has become padding.
            "attention_mask": self._real_tokens(output.sequences, model_inputs["attention_mask"]),
            "forward_passes": torch.full((batch_size,), output.forward_passes),
            "scoring_passes": torch.full((batch_size,), output.scoring_passes),
        }
        if output.error_probabilities is not None:
            result["error_probabilities"] = output.error_probabilities
        return result

    def _real_tokens(self, sequences: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.tokenizer.pad_token_id is None:
            return attention_mask.bool()
        return attention_mask.bool() & (sequences != self.tokenizer.pad_token_id)

    def postprocess(self, model_outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        # Here one item at a time; the parent's iterator keeps a leading dimension of one.
        rows = {name: value.reshape(-1) for name, value in model_outputs.items()}
        real = rows["attention_mask"]
        ids = rows["sequences"][real].tolist()
        probabilities = None
        if "error_probabilities" in rows:
            probabilities = rows["error_probabilities"][real].float().tolist()
        return {
            "generated_text": self.tokenizer.decode(ids),
            "tokens": self.tokenizer.convert_ids_to_tokens(ids),
            "token_ids": ids,
            "error_probabilities": probabilities,
            "expected_errors": None if probabilities is None else sum(probabilities),
            "forward_passes": int(rows["forward_passes"]),
            "scoring_passes": int(rows["scoring_passes"]),
        }
