# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the pipelines share: which inputs they take, and how a text becomes tokens with their places.

A pipeline reaches the model only as `self.model`, whose class may come from a module loaded from somewhere else.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch.utils.data import Dataset, IterableDataset
from transformers import Pipeline

from critic_gpt.backbones.description import Backbone
from critic_gpt.diffusion.drawable import ids_without_text
from critic_gpt.hub.folder import write_source_files
from critic_gpt.hub.text import placed_tokens, without_byte_order_mark
from critic_gpt.hub.vocabulary import check_tokenizer


# How many of the inputs that are refused for one reason a refusal names.
MAX_NAMED = 10


class _One(NamedTuple):
    """One of several inputs: its place among them, and what the model gets of it, where that is known already."""

    item: Any
    place: int
    ready: Any = None


class _Items(Dataset):
    """A sequence of any library as one of torch, which the parent reads lazily, each text with its place in it."""

    def __init__(self, texts: Any, make_item: Callable[[Any, int], Any]):
        # A Series of pandas is indexed by its labels, which after sorting or filtering are no places.
        self.texts, self.make_item = getattr(texts, "iloc", texts), make_item
        self.length = len(texts)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return _One(self.make_item(self.texts[index], index), index)


class CriticPipeline(Pipeline):
    """A pipeline over texts for a masked diffusion model with the tokenizer it was trained with."""

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    # If need be without it: why it does not load, [`check_tokenizer`] says better than its reader.
    _load_tokenizer = None
    # The generation configuration of the model is a class of its own, which the parent would mistreat.
    _pipeline_calls_generate = False

    # What an input may be, as a refusal says it; whether None is one; under which keys a mapping has its text.
    _takes = "a text, or a list, dataset or generator of texts"
    _takes_none = False
    _text_keys: tuple[str, ...] = ("text",)

    @staticmethod
    def _make_item(text: Any, index: int) -> Any:
        """What `preprocess` gets for the text at a place of the inputs."""
        return text

    def __init__(self, model, *args, **kwargs):
        self._check_loaded(model)
        super().__init__(model, *args, **kwargs)
        self._check_model()
        check_tokenizer(self.model, self.tokenizer)
        self._never_drawn = ids_without_text(self.tokenizer, self._backbone())

    @classmethod
    def _check_loaded(cls, model: Any) -> None:
        """Raises why a model was not loaded: in its place Transformers' `pipeline` was given the refusal."""
        refusal = getattr(model, "refusal", None)
        if isinstance(refusal, Exception):
            raise refusal

    def _check_model(self) -> None:
        """Refuses a model that cannot do this task."""
        # The code of an earlier version, in the model's folder, does not know it.
        if getattr(self.model, "weights_fault", None) is not None:
            self.model.check_whole("model", self.model.name_or_path)

    def __call__(self, inputs: Any, **kwargs):
        make_item = self._make_item
        if isinstance(inputs, (str, Mapping)) or (inputs is None and self._takes_none):
            return super().__call__(make_item(inputs, 0), **kwargs)
        if isinstance(inputs, (list, tuple)):
            # The parent would look at the first one.
            return super().__call__(self._read_all(inputs, **kwargs), **kwargs) if inputs else []
        # A stream may tell its length and is read from its beginning all the same.
        stream = isinstance(inputs, IterableDataset)
        if not stream and hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
            return super().__call__(_Items(inputs, make_item), **kwargs)
        try:
            texts = iter(inputs)
        except TypeError as error:
            raise ValueError(f"`inputs` must be {self._takes}, got {_shown(inputs)}: pass one of these.") from error
        items = (_One(make_item(text, index), index) for index, text in enumerate(texts))
        return super().__call__(items, **kwargs)

    def _read_all(self, texts: Sequence[Any], num_workers: Any = None, batch_size: Any = None, **kwargs) -> list[_One]:
        """
        What the model gets of all texts of a list, whose results come together: those that are refused are all named,
        before the work on the others would be lost.
        """
        parameters = {**self._preprocess_params, **self._sanitize_parameters(**kwargs)[0]}
        found: list[_One] = []
        refused: dict[str, list[int]] = {}
        for index, text in enumerate(texts):
            item = self._make_item(text, index)
            try:
                found.append(_One(item, index, self._read(item, **parameters)))
            except ValueError as error:
                refused.setdefault(str(error), []).append(index)
        if refused:
            raise ValueError(" ".join(_placed(reason, places) for reason, places in refused.items()))
        return found

    def preprocess(self, inputs: Any, **parameters):
        if not isinstance(inputs, _One):
            return self._read(inputs, **parameters)
        if inputs.ready is not None:
            return inputs.ready
        try:
            return self._read(inputs.item, **parameters)
        except ValueError as error:  # of a dataset or a stream, whose results so far are delivered
            raise ValueError(_placed(str(error), [inputs.place])) from error

    def _read(self, item: Any, *args: Any, **parameters: Any) -> dict[str, Any]:
        """What the model gets of one input; a task takes the parameters that it knows, by name."""
        raise NotImplementedError

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any):
        """As the parent's, which would write the file of this pipeline alone: the others first."""
        if not os.path.isfile(save_directory):  # which the parent reports
            os.makedirs(save_directory, exist_ok=True)
            write_source_files(save_directory)
        super().save_pretrained(save_directory, **kwargs)

    def _backbone(self) -> Backbone:
        """What is under the model's heads."""
        return Backbone.of(self.model.config)

    # ---- from a text to tokens ----

    def _text_of(self, given: Any) -> str:
        """The text of one input, "" where there is none."""
        if isinstance(given, Mapping):
            keys = [key for key in self._text_keys if key in given]
            if not keys:
                raise ValueError(
                    f"`inputs` must have the key {' or '.join(f'`{key}`' for key in self._text_keys)} where they are "
                    f"mappings, got the keys {', '.join(map(repr, given)) or 'of an empty one'}: rename the one that "
                    "holds the text."
                )
            given = given[keys[0]]
        if not isinstance(given, str) and not (given is None and self._takes_none):
            raise ValueError(
                f"`inputs` must be texts{' or None' if self._takes_none else ''}, got {_shown(given)}: pass a text."
            )
        return given or ""

    def _is_unknown(self, token: int | None, written: str) -> bool:
        """Whether a token does not stand for what is written; spelled out in a text, the unknown token is known."""
        return token is None or (token == self.tokenizer.unk_token_id and written != self.tokenizer.unk_token)

    def _placed_tokens(self, text: str) -> Iterator[tuple[int | None, int, int]]:
        """Tokens of a fast tokenizer with their places; `None` for a character that makes it give up."""
        try:
            placed = list(placed_tokens(self.tokenizer, text))
        except Exception as error:  # what a fast tokenizer without an unknown token raises has no class of its own
            known = self._known_stretches()
            if known is None:
                raise ValueError(
                    f"`inputs` must consist of what the tokenizer knows, got {text!r:.60}, and the tokenizer has no "
                    "unknown token: leave out what is foreign to it, or give it an unknown token."
                ) from error
            done = len(text) - len(without_byte_order_mark(text))
            for stretch in known.finditer(text):
                yield from ((None, i, i + 1) for i in range(done, stretch.start()))
                for token, start, end in placed_tokens(self.tokenizer, stretch.group()):
                    yield token, stretch.start() + start, stretch.start() + end
                done = stretch.end()
            yield from ((None, i, i + 1) for i in range(done, len(text)))
        else:
            yield from placed

    def _known_stretches(self) -> re.Pattern | None:
        """What a tokenizer of characters can read without a break; `None` if it has tokens of another kind."""
        special = sorted(self.tokenizer.all_special_tokens, key=len, reverse=True)
        characters = self.tokenizer.get_vocab().keys() - set(special)
        if any(len(character) != 1 for character in characters):
            return None
        return re.compile("(?:" + "|".join(map(re.escape, [*special, *sorted(characters)])) + ")+")


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())[:60]  # of a table several lines


def _placed(reason: str, places: list[int]) -> str:
    """A refusal, with the inputs that it is about."""
    more = f" and {len(places) - MAX_NAMED} more" if len(places) > MAX_NAMED else ""
    return f"{reason.rstrip('.')} ({', '.join(f'inputs[{place}]' for place in places[:MAX_NAMED])}{more})."
