# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The task "critic-diffusion": text with holes, a prefix or nothing in; text with error probabilities out."""

import copy
import math
import operator
import os
from collections.abc import Callable
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
from transformers.utils import logging

from critic_gpt.hub.text import leaves_a_space_before, uncovered
from critic_gpt.pipelines.critic_pipeline import CriticPipeline


logger = logging.get_logger(__name__)

# What documents call the mask, which tokenizers may write otherwise.
MASK = "[MASK]"
# How many tokens are generated where neither the call nor the model's generation configuration says.
DEFAULT_NEW_TOKENS = 256
# Fields of `generate`'s output that say how good a row is.
QUALITY = ("error_mean", "error_p10", "error_p50", "error_p90", "self_log_probability", "judge_wrongness")


class CriticDiffusionPipeline(CriticPipeline):
    """
    Generates text by masked diffusion and says how likely each token is wrong.

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

    - `generated_text` (`str`): The finished text, without the EOS it ends with.
    - `tokens` (`list[str]`), `token_ids` (`list[int]`): Its tokens.
    - `error_probabilities` (`list[float]` or `None`): P(wrong) of each token, 0 for given ones; `None` without a
      trained critic.
    - `expected_errors` (`float` or `None`): Their sum.
    - `error_mean`, `error_p10`, `error_p50`, `error_p90` (`float` or `None`): Mean and quantiles of P(wrong) over the
      generated tokens; `None` without a trained critic, or where nothing was generated.
    - `self_log_probability` (`float` or `None`): Mean natural logarithm of the probability that the model itself gave
      each generated token when it was last drawn; `None` where nothing was generated.
    - `judge_wrongness` (`float` or `None`): What `judge_model` says, in [0, 1]; `None` without one.
    - `forward_passes`, `scoring_passes`, `judge_passes` (`int`): What the batch cost.
    - `row_passes` (`int`): How many of the forward passes this text took part in, over all its candidates; a
      text that is finished early leaves the batch.
    - `candidate_expected_errors` (`list[float]` or `None`): With `num_candidates` above 1: the expected errors of each
      candidate; the best one is shown.
    - `history` (`list[dict]`, with `return_history=True` only): Every step of the batch: its input and the same with
      all masks filled, as text (`input`, `filled`) and as ids (`input_ids`, `filled_ids`), and the
      positions that were re-masked (`remasked`, `list[int]`).

    Args of a call:
        seed (`int`, *optional*): The same results for the same inputs, whatever the batch size.
        first_index (`int`, *optional*, defaults to 0): Place of the first prompt among all of a run; with a `seed`,
            prompts that are given in parts get the results that they would get in one call.
        batch_size (`int`, *optional*, defaults to 1): Prompts per batch.
        max_new_tokens (`int`, *optional*): Length of what is generated, for prompts without `[MASK]`. By default that
            of the model's generation configuration, else 256 or as many as fit.
        block_length (`int`, *optional*): Generates so many tokens at a time; texts may then be longer than the model.
            By default that of the generation configuration.
        seed_placement (`str`, *optional*): `"prefix"`, or `"random"`: a prompt without `[MASK]` stands as one block
            at a random offset of what is generated. By default that of the generation configuration.
        remasking_model (`str`, callable or token classifier, *optional*): Decides which tokens are re-masked,
            ahead of the critic; a folder or hub name is loaded once. Higher output = better token.
        judge_model (`str`, callable or sequence scorer, *optional*): Judges the finished sequences.
        logits_processor, stopping_criteria (`list`, *optional*): As for the model's `generate`.
        streamer (*optional*): As for the model's `generate`: it follows one batch after another. Those of
            Transformers take one prompt per batch.
        kwargs: Every field of the model's generation configuration (`num_steps`, `remasking`, `temperature`,
            `polish_steps`, `stop_when_expected_errors_below`, `num_candidates`, ...).
    """

    _takes = "a text, None, or a list, dataset or generator of these"
    _takes_none = True
    _text_keys = ("prompt", "text")

    @classmethod
    def _check_loaded(cls, model: Any) -> None:
        super()._check_loaded(model)
        if not hasattr(model, "critic_head"):
            raise ValueError(
                f"`model` must be one that generates by masked diffusion, got a {type(model).__name__}: load one with "
                "a critic (`AutoModelForMaskedLMWithCritic`), or give it one (`get_critic_model`)."
            )

    def __init__(self, model, *args, **kwargs):
        self._loaded_judges: dict[tuple[str, str], Any] = {}  # by argument and path
        super().__init__(model, *args, **kwargs)
        self._leaves_space = leaves_a_space_before(self.tokenizer)

    @staticmethod
    def _make_item(text: Any, index: int) -> dict[str, Any]:
        """A prompt with its place, from which a seeded call draws its randomness."""
        return {"prompt": text, "index": index}

    def __call__(self, inputs: Any = None, **kwargs):
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(
        self,
        seed: int | None = None,
        max_new_tokens: int | None = None,
        seed_placement: str | None = None,
        block_length: int | None = None,
        remasking_model: str | Callable | None = None,
        judge_model: str | Callable | None = None,
        **kwargs,
    ):
        forward = dict(kwargs)
        if forward.get("return_dict_in_generate") is False:
            raise ValueError("`return_dict_in_generate` must be True in a pipeline, got False: leave it out.")
        if seed is not None:
            try:
                forward["seed"] = operator.index(seed)
            except TypeError as error:
                raise ValueError(f"`seed` must be a whole number, got {seed!r}: pass one, or none.") from error
        # What shapes the canvas stays here: `generate` gets it complete.
        preprocess = {"max_new_tokens": max_new_tokens, "seed_placement": seed_placement}
        config = forward.get("generation_config")
        if config is not None:
            forward["generation_config"] = config = copy.deepcopy(config)
            for name in preprocess:
                if preprocess[name] is None:
                    preprocess[name] = getattr(config, name, None)
                setattr(config, name, None)
            # It takes the place of the model's own, which would place them otherwise perhaps.
            preprocess["seed_placement"] = preprocess["seed_placement"] or "prefix"
        if block_length is None:
            block_length = getattr(self.model.generation_config if config is None else config, "block_length", None)
        else:
            forward["block_length"] = block_length
        # Its class knows what may stand here.
        type(self.model.generation_config)(seed_placement=seed_placement, block_length=block_length)
        preprocess["longer"] = None if block_length is None else True
        for name, judge in (("remasking_model", remasking_model), ("judge_model", judge_model)):
            if judge is not None:
                forward[name] = self._load_judge(name, judge) if isinstance(judge, (str, os.PathLike)) else judge
        return {name: value for name, value in preprocess.items() if value is not None}, forward, {}

    def _load_judge(self, name: str, path: str | os.PathLike):
        """The model of a path or hub name, loaded once."""
        key = (name, os.fspath(path))
        if key not in self._loaded_judges:
            kinds = {
                "remasking_model": (AutoModelForTokenClassification, "token classifier"),
                "judge_model": (AutoModelForSequenceClassification, "sequence scorer"),
            }
            auto_class, words = kinds[name]
            try:
                model, info = auto_class.from_pretrained(path, output_loading_info=True)
            except (OSError, ValueError, SafetensorError) as error:  # missing, of an unknown kind, or damaged
                raise ValueError(
                    f"`{name}` must be the folder or hub name of a {words}, got {key[1]!r}, which did not load "
                    f"({' '.join(str(error).split()).rstrip('.')}): train one, or name another folder."
                ) from error
            if info["missing_keys"]:
                raise ValueError(
                    f"`{name}` must be a trained {words}, got {key[1]!r}, which has no weights for "
                    f"{', '.join(sorted(info['missing_keys']))}: train one, or name another folder."
                )
            self._loaded_judges[key] = model.to(self.device).eval()
        return self._loaded_judges[key]

    def _read(
        self,
        item: dict[str, Any],
        max_new_tokens: int | None = None,
        seed_placement: str | None = None,
        longer: bool = False,
    ) -> dict[str, torch.Tensor]:
        prompt = self._text_of(item["prompt"])
        ids = self._encode(prompt)
        backbone = self._backbone()
        longest = None if longer else backbone.max_text_length  # in blocks a text may be longer than the model
        positions = len(ids) + DEFAULT_NEW_TOKENS if longest is None else longest
        num_new = 0
        if self.tokenizer.mask_token_id not in ids:
            if MASK in prompt and self.tokenizer.mask_token != MASK:
                logger.warning_once(
                    f"{MASK} in a prompt is text to this model and is not filled: its mask is "
                    f"{self.tokenizer.mask_token}, write that."
                )
            if max_new_tokens is None:
                max_new_tokens = self.model.generation_config.max_new_tokens
            if max_new_tokens is None:
                if len(ids) >= positions:
                    raise ValueError(
                        f"`inputs` must leave room to generate in the model's {positions} positions, got a prompt of "
                        f"{len(ids)} tokens: shorten it, or set `block_length`."
                    )
                max_new_tokens = min(DEFAULT_NEW_TOKENS, positions - len(ids))
            whole = isinstance(max_new_tokens, int) and not isinstance(max_new_tokens, bool)
            too_many = whole and longest is not None and len(ids) + max_new_tokens > positions
            if not whole or max_new_tokens < 1 or too_many:
                raise ValueError(
                    f"`max_new_tokens` must be a whole number from 1 that fits the model's {positions} positions, got "
                    f"{max_new_tokens!r} after a prompt of {len(ids)} tokens: shorten the prompt, generate fewer, or "
                    "set `block_length`."
                )
            ids = ids + [self.tokenizer.mask_token_id] * max_new_tokens
            if (seed_placement or self.model.generation_config.seed_placement) == "random":
                num_new = max_new_tokens
        elif seed_placement == "random":
            raise ValueError(
                f"`seed_placement` is for prompts without [MASK], got 'random' for {prompt!r:.60}: leave it out."
            )
        elif max_new_tokens is not None:
            raise ValueError(
                f"`max_new_tokens` is for prompts without [MASK], got {max_new_tokens} for {prompt!r:.60}: leave it "
                "out."
            )
        elif longest is not None and len(ids) > positions:
            raise ValueError(
                f"`inputs` must fit the model's {positions} positions, got a prompt of {len(ids)} tokens: shorten it, "
                "or set `block_length`."
            )
        shown = [0] * len(backbone.prefix_ids) + [1] * len(ids) + [0] * len(backbone.suffix_ids)
        ids = [*backbone.prefix_ids, *ids, *backbone.suffix_ids]
        return {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones((1, len(ids)), dtype=torch.long),
            # What is the text's own, and not the frame that the model knows it in.
            "shown": torch.tensor([shown]),
            "index": torch.tensor([item["index"]]),
            # Whether a space before the text is the tokenizer's.
            "puts_space": torch.tensor([self._leaves_space and not prompt.startswith(" ")]),
            # Among how many masks the prompt is to be placed at random; 0 = it stays where it is.
            "num_new": torch.tensor([num_new]),
        }

    def _encode(self, text: str) -> list[int]:
        """Ids of the prompt; characters the tokenizer would drop or replace by its unknown token are an error."""
        tokenizer = self.tokenizer
        if not text:
            return []
        if tokenizer.is_fast:
            placed = list(self._placed_tokens(text))
            ids = [token for token, _, _ in placed]
            unknown = {text[i:j] for token, i, j in placed if self._is_unknown(token, text[i:j])}
            dropped = uncovered(tokenizer, text, placed)
            unknown |= {character for character, lost in zip(text, dropped, strict=True) if lost}
        else:
            ids, unknown = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], set()
            if tokenizer.unk_token_id in ids:
                pieces = tokenizer.tokenize(text)
                unknown = {p for p in pieces if tokenizer.convert_tokens_to_ids(p) == tokenizer.unk_token_id}
        if unknown:
            raise ValueError(
                f"`inputs` must consist of what the tokenizer knows, got {', '.join(map(repr, sorted(unknown)))}: "
                "leave these out or replace them."
            )
        return [token for token in ids if token is not None]  # all of them: what has no token is unknown

    def _forward(
        self, model_inputs: dict[str, torch.Tensor], seed: int | None = None, first_index: int = 0, **generate_kwargs
    ):
        attention_mask = model_inputs["attention_mask"]
        # Padding goes to the end, or the random numbers of a token would depend on the lengths of its neighbours.
        order = attention_mask.argsort(dim=-1, descending=True, stable=True)
        input_ids, attention_mask = model_inputs["input_ids"].gather(-1, order), attention_mask.gather(-1, order)
        shown = model_inputs["shown"].gather(-1, order).bool() & attention_mask.bool()
        places = (model_inputs["index"] + first_index).tolist()
        seeds = None if seed is None else [((seed % 2**30) << 32) + place for place in places]
        if bool(model_inputs["num_new"].any()):
            input_ids = self._placed_at_random(input_ids, shown, model_inputs["num_new"], seeds)
        settings = {"suppressed_token_ids": self._never_drawn, **generate_kwargs}
        output = self.model.generate(
            input_ids, attention_mask, **{**settings, "seed": seeds, "return_dict_in_generate": True}
        )
        batch_size = len(output.sequences)
        result = {
            "sequences": output.sequences,
            # Given or generated; what was cut off behind an end is neither.
            "attention_mask": shown & (output.generated_mask | (output.sequences == input_ids)),
            "forward_passes": torch.full((batch_size,), output.forward_passes),
            "scoring_passes": torch.full((batch_size,), output.scoring_passes),
            "judge_passes": torch.full((batch_size,), output.judge_passes),
            "row_passes": output.row_passes,
            "puts_space": model_inputs["puts_space"],
        }
        result |= {name: output[name] for name in QUALITY if output.get(name) is not None}
        for name in ("error_probabilities", "candidate_expected_errors"):
            if output.get(name) is not None:
                result[name] = output[name]
        if output.history is not None:
            steps = [torch.stack([s.input_ids, s.filled, s.remasked.long()], dim=1) for s in output.history]
            result["history"] = torch.stack(steps, dim=1)  # (B, steps, 3, T)
        return result

    def _placed_at_random(
        self, input_ids: torch.Tensor, shown: torch.Tensor, num_new: torch.Tensor, seeds: list[int] | None
    ) -> torch.Tensor:
        """Prompts moved among their masks, within the frame."""
        begin = len(self._backbone().prefix_ids)
        inner = shown[:, begin:]
        moved = self.model.place_seed_text(input_ids[:, begin:], inner.long(), num_new, seed=seeds)
        return torch.cat([input_ids[:, :begin], torch.where(inner, moved, input_ids[:, begin:])], dim=-1)

    def postprocess(self, model_outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        # Here one item at a time; the parent's iterator keeps a leading dimension of one.
        history = model_outputs.get("history")
        rows = {name: value.reshape(-1) for name, value in model_outputs.items() if name != "history"}
        real = rows["attention_mask"]
        ids = rows["sequences"][real].tolist()
        probabilities = None
        if "error_probabilities" in rows:
            probabilities = rows["error_probabilities"][real].tolist()
        candidates = rows.get("candidate_expected_errors")

        def decoded(tokens: Any) -> str:
            text = self.tokenizer.decode(tokens)
            return text[1:] if bool(rows["puts_space"]) and text.startswith(" ") else text

        ends = bool(ids) and ids[-1] == self.tokenizer.eos_token_id  # the end of a text is no part of it
        result = {
            "generated_text": decoded(ids[: len(ids) - ends]),
            "tokens": self.tokenizer.convert_ids_to_tokens(ids),
            "token_ids": ids,
            "error_probabilities": probabilities,
            "expected_errors": None if probabilities is None else sum(probabilities),
            **{name: self._plain(rows.get(name)) for name in QUALITY},
            "candidate_expected_errors": None if candidates is None else [self._plain(c) for c in candidates],
            **{name: int(rows[name]) for name in ("forward_passes", "scoring_passes", "judge_passes", "row_passes")},
        }
        if history is not None:
            result["history"] = [
                {
                    "input": decoded(before[real]),
                    "filled": decoded(filled[real]),
                    "input_ids": before[real].tolist(),
                    "filled_ids": filled[real].tolist(),
                    "remasked": remasked[real].nonzero().flatten().tolist(),
                }
                for before, filled, remasked in history.reshape(-1, 3, len(real))
            ]
        return result

    @staticmethod
    def _plain(value: torch.Tensor | None) -> float | None:
        """A number as JSON knows it: `None` where there is none."""
        return None if value is None or math.isnan(value) else float(value)
