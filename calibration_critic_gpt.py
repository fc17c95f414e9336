# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Turns critic scores into error probabilities: count, fit a table of 100 numbers, keep it by the weights, look up.

    histogram = CriticHistogram()
    for critic_logits, critic_target, critic_valid in judged_batches:
        histogram.update(critic_logits, critic_target, critic_valid)
    histogram.fit().save("my_model")                                       # -> my_model/calibration.json
    CriticCalibration.load("my_model").error_probability(critic_logits)    # P(this token is wrong), in [0, 1]

Histogram binning as a calibration map: Zadrozny and Elkan, ICML 2001; isotonic regression for the same end: the same
authors, KDD 2002. This file travels with a model to the hub: it needs nothing but torch and the libraries of the hub.
"""

import copy
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import _CACHED_NO_EXIST, HfApi, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import RemoteEntryNotFoundError
from transformers.utils.hub import cached_file

from .calibration_file_critic_gpt import (
    CALIBRATION_NAME,
    METADATA_KEY,
    NUM_BUCKETS,
    entry_name,
    find_entry,
    merge_entry,
    read_document,
    render_document,
    table_fault,
    update_file,
)


DEFAULT_WEIGHTS_NAME = "model.safetensors"  # what `save_pretrained` calls the weights
FINGERPRINT_SAMPLE = 4096  # elements looked at per tensor

# Legend: p = sigmoid(critic logit), bucket = min(99, floor(100 p)), higher logit = more likely wrong.


def score_buckets(critic_logits: torch.Tensor) -> torch.Tensor:
    """The bucket of each score, `min(99, floor(100 * sigmoid(logit)))`: the one rule for counting and for looking up.

    The arithmetic is float32 whatever comes in: bfloat16 has too few digits to tell 100 buckets apart, and a table
    counted in one precision and read in another would shift scores that sit on a boundary.
    Any shape in, a `torch.LongTensor` of that shape with values 0 to 99 out.
    """
    return (torch.sigmoid(critic_logits.float()) * NUM_BUCKETS).floor().long().clamp(0, NUM_BUCKETS - 1)


def fill_nearest(rates: Sequence[float | None]) -> list[float]:
    """Fills empty buckets (`None`) from a neighbour: ascending, in place, the lower half looks up, the upper down.

    "In place" is part of the rule: a bucket filled a moment ago serves the next one as if it had been observed. Where
    one side has nothing the other is asked; if nothing was observed at all, every bucket becomes 0.0.
    """
    filled = list(rates)
    for index, rate in enumerate(filled):
        if rate is None:
            upward, downward = filled[index + 1 :], filled[:index][::-1]
            order = upward + downward if index < NUM_BUCKETS // 2 else downward + upward
            filled[index] = next((value for value in order if value is not None), 0.0)
    return filled


def fill_isotonic(counts: Sequence[int], positives: Sequence[int]) -> list[float]:
    """Count-weighted monotone regression (pool adjacent violators), linear between observed buckets, constant outside.

    A table made this way never calls a higher score safer. Block means are compared as fractions of integers, so no
    rounding decides which buckets are pooled. Ayer et al., 1955; Zadrozny and Elkan, KDD 2002.

    Takes judged tokens per bucket (at least one of them not 0) and the wrong ones among them; returns a non-decreasing
    list in [0, 1] of the same length.
    """
    blocks = []  # [positives, count, observed buckets]; their means strictly increase
    observed = [index for index, count in enumerate(counts) if count > 0]
    for index in observed:
        block = [positives[index], counts[index], 1]
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            block = [left + right for left, right in zip(blocks.pop(), block, strict=True)]
        blocks.append(block)
    level = [block[0] / block[1] for block in blocks for _ in range(block[2])]

    filled, right = [], 0  # observed[right] is the first observed bucket at or above `index`
    for index in range(len(counts)):
        while right < len(observed) - 1 and observed[right] < index:
            right += 1
        left = max(right - 1, 0)
        low, high, span = level[left], level[right], observed[right] - observed[left]
        share = min(1.0, max(0.0, (index - observed[left]) / span)) if span else 0.0
        filled.append(min(high, low + (high - low) * share))  # min: the product may round one digit above `high`
    return filled


class CriticHistogram:
    """Counts of judged and of wrong tokens per bucket of the critic's score.

    Args:
        counts (`torch.Tensor` of shape `(100,)`, *optional*, defaults to zeros):
            judged tokens per bucket, for instance the sum over processes.
        positives (`torch.Tensor` of shape `(100,)`, *optional*, defaults to zeros):
            those with target 1 (wrong) among them.

    Raises:
        `ValueError`: a shape other than `(100,)`, or `0 <= positives <= counts` broken.
    """

    def __init__(self, counts: torch.Tensor | None = None, positives: torch.Tensor | None = None):
        zeros = torch.zeros(NUM_BUCKETS, dtype=torch.int64)
        self._counts = zeros.clone() if counts is None else counts.detach().to("cpu", torch.int64).clone()
        self._positives = zeros.clone() if positives is None else positives.detach().to("cpu", torch.int64).clone()
        for name, value in (("counts", self._counts), ("positives", self._positives)):
            if value.shape != (NUM_BUCKETS,):
                raise ValueError(
                    f"`{name}` must have shape ({NUM_BUCKETS},), got {tuple(value.shape)}; pass one count per bucket."
                )
        wrong = ((self._positives < 0) | (self._positives > self._counts)).nonzero().flatten().tolist()
        if wrong:
            raise ValueError(
                f"`positives` must lie between 0 and `counts` in every bucket, got {self._positives[wrong[0]].item()} "
                f"of {self._counts[wrong[0]].item()} in bucket {wrong[0]}; pass the arguments in this order."
            )

    @property
    def counts(self) -> torch.Tensor:
        """Judged tokens per bucket (`torch.LongTensor` of shape `(100,)`, on the CPU; a copy)."""
        return self._counts.clone()

    @property
    def positives(self) -> torch.Tensor:
        """Tokens with target 1 (wrong) per bucket (`torch.LongTensor` of shape `(100,)`, on the CPU; a copy)."""
        return self._positives.clone()

    def update(
        self, critic_logits: torch.Tensor, critic_target: torch.Tensor, critic_valid: torch.Tensor | None = None
    ) -> None:
        """Adds one batch. Either the whole batch is counted or, on an error, nothing of it.

        Args:
            critic_logits (`torch.Tensor` of any shape): raw scores, higher = more likely wrong.
            critic_target (`torch.Tensor` of the same shape): 1 where the token is wrong, 0 where it is right.
            critic_valid (`torch.Tensor` of the same shape, *optional*, defaults to every position):
                true where the position is judged; nothing is asked of the other positions.

        Raises:
            `ValueError`: shapes differ, a judged logit is NaN, or a judged target is neither 0 nor 1.
        """
        valid = torch.ones_like(critic_logits, dtype=torch.bool) if critic_valid is None else critic_valid.bool()
        for name, tensor in (("critic_target", critic_target), ("critic_valid", valid)):
            if tensor.shape != critic_logits.shape:
                raise ValueError(
                    f"`{name}` must have the shape of `critic_logits`, {tuple(critic_logits.shape)}, got "
                    f"{tuple(tensor.shape)}; pass the three tensors of one batch."
                )
        logits = critic_logits.detach()[valid].float().cpu()
        target = critic_target.detach()[valid].cpu()
        if logits.isnan().any():
            raise ValueError(
                f"`critic_logits` must not be NaN at judged positions, got {int(logits.isnan().sum())} NaN; "
                "check that the weights are finite, or calibrate in float32."
            )
        foreign = target[(target != 0) & (target != 1)]
        if foreign.numel():
            raise ValueError(
                f"`critic_target` must be 0 (right) or 1 (wrong) at judged positions, got {foreign[0].item()}; "
                "exclude the other positions with `critic_valid`."
            )
        buckets = score_buckets(logits)
        self._counts += torch.bincount(buckets, minlength=NUM_BUCKETS)
        self._positives += torch.bincount(buckets[target == 1], minlength=NUM_BUCKETS)

    def merge(self, other: "CriticHistogram") -> "CriticHistogram":
        """Adds the counts of another histogram (say, of another process) to this one and returns this one."""
        self._counts += other.counts
        self._positives += other.positives
        return self

    @property
    def positive_rate(self) -> float:
        """Share of judged tokens that are wrong, in [0, 1]. Raises `ValueError` on an empty histogram."""
        self._refuse_empty()
        return int(self._positives.sum()) / int(self._counts.sum())

    def positive_rate_from_buckets(self, probabilities: Sequence[float]) -> float:
        """The same share as a table sees it: the mean of `probabilities` (100 floats) over the judged tokens.

        Equal to `positive_rate` for a table fitted to this histogram; a difference says that the table is another's.
        """
        self._refuse_empty()
        expected = math.fsum(count * rate for count, rate in zip(self._counts.tolist(), probabilities, strict=True))
        return expected / int(self._counts.sum())

    def fit(self, method: str = "nearest", metadata: Mapping | None = None) -> "CriticCalibration":
        """Makes the table: the share of wrong tokens per bucket, empty buckets filled.

        Args:
            method (`str`, *optional*, defaults to `"nearest"`):
                `"nearest"` keeps every observed rate and copies neighbours into gaps (see `fill_nearest`);
                `"isotonic"` also makes the table non-decreasing (see `fill_isotonic`).
            metadata (`dict`, *optional*): kept beside `method`, `counts`, `positives`, `positive_rate`.

        Raises:
            `ValueError`: an unknown method or an empty histogram.
        """
        if method not in ("nearest", "isotonic"):
            raise ValueError(f'`method` must be "nearest" or "isotonic", got {method!r}; choose one of the two.')
        self._refuse_empty()
        counts, positives = self._counts.tolist(), self._positives.tolist()
        if method == "nearest":
            pairs = zip(positives, counts, strict=True)
            table = fill_nearest([wrong / count if count else None for wrong, count in pairs])
        else:
            table = fill_isotonic(counts, positives)
        record = {"method": method, "counts": counts, "positives": positives, "positive_rate": self.positive_rate}
        return CriticCalibration(table, metadata={**record, **(metadata or {})})

    def format_table(self, probabilities: Sequence[float] | None = None) -> str:
        """The verbose table, one line per bucket: count, count of target 1, P(wrong) (0.0 where empty).

        `probabilities` (100 floats, *optional*), the saved table, goes beside the counts: they cannot disagree unseen.
        """
        lines = []
        for index, (count, wrong) in enumerate(zip(self._counts.tolist(), self._positives.tolist(), strict=True)):
            line = f"bucket {index:2d}  count {count:9d}  target1 {wrong:9d}  probability {wrong / max(count, 1):.6f}"
            lines.append(line if probabilities is None else f"{line}  saved {probabilities[index]:.6f}")
        return "\n".join(lines)

    def _refuse_empty(self) -> None:
        if not self._counts.any():
            raise ValueError(
                "`counts` must hold at least one judged token, got 0; call `update` with judged positions before."
            )


class CriticCalibration:
    """An immutable table from the critic's score to the probability that the token is wrong.

    Args:
        probabilities (sequence of 100 `float` in [0, 1]): P(wrong) per bucket of `sigmoid(critic logit)`.
        metadata (`dict`, *optional*, defaults to `{}`):
            JSON values about the table's origin; `fingerprint` ties it to one set of weights (`weights_fingerprint`).

    Raises:
        `ValueError`: not 100 finite numbers in [0, 1] (index and value are named), or metadata that JSON cannot hold.
    """

    def __init__(self, probabilities: Sequence[float], metadata: Mapping | None = None):
        values = probabilities.tolist() if isinstance(probabilities, torch.Tensor) else probabilities
        fault = table_fault(values)
        if fault:
            raise ValueError(f"`probabilities` {fault}; make a table with `CriticHistogram.fit`.")
        self._probabilities = tuple(float(value) for value in values)
        try:  # through JSON and back: a deep copy that is already what a reader of the file will get
            self._metadata = json.loads(json.dumps(dict(metadata or {}), sort_keys=True, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`metadata` must hold only what JSON can, got {error}; turn tensors into lists and NaN into None."
            ) from error
        self._tables: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}

    @property
    def probabilities(self) -> tuple[float, ...]:
        """P(wrong) per bucket, 100 floats in [0, 1]."""
        return self._probabilities

    @property
    def metadata(self) -> dict:
        """Where the table comes from (a copy)."""
        return copy.deepcopy(self._metadata)

    def with_metadata(self, **updates) -> "CriticCalibration":
        """The same table with entries of its metadata added or replaced."""
        return type(self)(self._probabilities, {**self._metadata, **updates})

    @classmethod
    def ramp(cls) -> "CriticCalibration":
        """The stand-in for a missing table: 0.01 + i * 0.98 / 99, from 0.01 to 0.99."""
        return cls([0.01 + index * 0.98 / (NUM_BUCKETS - 1) for index in range(NUM_BUCKETS)])

    @property
    def is_ramp(self) -> bool:
        """Whether this is the stand-in and not a measured table."""
        return self._probabilities == type(self).ramp()._probabilities

    def table(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The table as a tensor of shape `(100,)`, kept per device and dtype so that only the first call copies.

        While a graph is being compiled nothing is kept: a tensor made there may be fake, or live in memory that a CUDA
        graph reuses. Call this once before a compiled function to spare it the copy.
        """
        kept = self._tables.get((torch.device(device), dtype))
        if kept is None and torch.compiler.is_compiling():
            kept = torch.tensor(self._probabilities, dtype=dtype, device=device)
        elif kept is None:
            with torch.inference_mode(False):  # a table first used in inference mode must also serve outside it
                kept = torch.tensor(self._probabilities, dtype=dtype, device=device)
            # Under both names of the device: "cuda" is asked for, "cuda:0" is where a tensor says it is.
            self._tables[(torch.device(device), dtype)] = self._tables[(kept.device, dtype)] = kept
        return kept

    def error_probability(self, critic_logits: torch.Tensor) -> torch.Tensor:
        """Looks up P(wrong) for raw critic scores, without a loop and without waiting for the device.

        Any shape on any device in; the same out, in [0, 1]: float64 for float64 input, else float32. NaN stays NaN,
        since a broken score must not pass for a safe one.
        """
        dtype = torch.float64 if critic_logits.dtype == torch.float64 else torch.float32
        looked_up = self.table(critic_logits.device, dtype)[score_buckets(critic_logits)]
        return looked_up.masked_fill(critic_logits.isnan(), float("nan"))

    def matches(self, fingerprint: str | None) -> bool:
        """Whether the table belongs to weights with this `weights_fingerprint`; `True` if either side is unknown."""
        own = self._metadata.get("fingerprint")
        return own is None or fingerprint is None or own == fingerprint

    def save(self, folder: str | os.PathLike, key: str = DEFAULT_WEIGHTS_NAME) -> Path:
        """Writes the table into `folder/calibration.json`, beside the tables there; returns its path.

        The file is replaced in one step, so a reader sees the old one or the new one. Writers on one machine (of one
        user) wait for each other and lose nothing.

        Args:
            folder (`str` or `os.PathLike`): created if missing.
            key (`str`, *optional*, defaults to `"model.safetensors"`):
                the weights' file name, with a variant as `"model.safetensors@trajectory"`; of a path only the last
                part is kept, so that the table is found again when the folder moves.

        Raises:
            `ValueError`: an impossible key or folder, or a corrupt or foreign file, which is left untouched.
        """
        path, key = Path(folder) / CALIBRATION_NAME, entry_name(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ValueError(
                f"`folder` must be a directory, got the file {folder}; pass the model's folder."
            ) from error
        update_file(path, key, self.probabilities, self.metadata)
        return path

    def save_pretrained(self, save_directory: str | os.PathLike, key: str = DEFAULT_WEIGHTS_NAME) -> Path:
        """`save` under the name that Transformers users expect."""
        return self.save(save_directory, key=key)

    @classmethod
    def load(cls, folder: str | os.PathLike, key: str = DEFAULT_WEIGHTS_NAME) -> "CriticCalibration | None":
        """Reads one table from `folder/calibration.json`.

        Args:
            folder (`str` or `os.PathLike`): where the weights are; `None` is returned if the file or entry is missing.
            key (`str`, *optional*, defaults to `"model.safetensors"`):
                the weights' file name. An exact match wins; else entries and key are compared by their last path part
                (either slash), since old files were keyed by a path.

        Raises:
            `ValueError`: a corrupt or foreign file, or several path-like entries that `key` could mean.
        """
        return cls._from_file(Path(folder) / CALIBRATION_NAME, key)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        key: str = DEFAULT_WEIGHTS_NAME,
        *,
        subfolder: str = "",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> "CriticCalibration | None":
        """`load` from a local folder or a hub repository; the arguments mean what they mean for models.

        `None` if the repository has no such file or entry, or if only local files may be used and none is cached.

        Raises:
            `OSError`: the hub cannot be reached, or refuses access; "there is no table" is never guessed from that.
            `ValueError`: a corrupt or foreign file.
        """
        repo = os.fspath(pretrained_model_name_or_path)
        subfolder = subfolder or ""
        where = {"revision": revision, "cache_dir": cache_dir}
        # Without this flag `cached_file` raises one OSError for "no such file" and "no connection" alike.
        quiet = {"_raise_exceptions_for_missing_entries": False}
        access = {"token": token, "local_files_only": local_files_only, "force_download": force_download}
        found = cached_file(repo, CALIBRATION_NAME, subfolder=subfolder, **where, **access, **quiet)
        if found is not None:
            return cls._from_file(Path(found), key)
        if os.path.isdir(repo) or local_files_only or is_offline_mode():
            return None
        # Nothing came back from online: either the hub said 404, which the cache remembers, or it said nothing at all.
        filename = f"{subfolder}/{CALIBRATION_NAME}" if subfolder else CALIBRATION_NAME
        if try_to_load_from_cache(repo, filename, **where) is not _CACHED_NO_EXIST:
            try:
                exists = HfApi(token=token).file_exists(repo, filename, revision=revision)
            except Exception as error:  # whatever the transport raises; nothing is swallowed
                raise OSError(
                    f"`{filename}` of {repo} must be reachable to learn whether a table exists, got "
                    f"{type(error).__name__}: {' '.join(str(error).split())}; check the connection, or pass "
                    "`local_files_only=True`."
                ) from error
            if exists:
                raise OSError(f"`{filename}` of {repo} must download, got no file though it exists there; try again.")
        return None

    def push_to_hub(
        self,
        repo_id: str,
        key: str = DEFAULT_WEIGHTS_NAME,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str = "Upload the critic's calibration",
    ) -> str:
        """Uploads the table into the `calibration.json` of a hub model repository, and nothing else.

        The repository is created if missing; tables already there stay. The commit names the state it was merged
        with, so that the hub refuses it if somebody else pushed in between (then push again).

        `key` is that of `save`, the other arguments are those of the hub's client. Returns the address of the commit;
        raises `ValueError` if the remote file is corrupt or foreign, and leaves it untouched.
        """
        key, api = entry_name(key), HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with the user's name
        parent = api.repo_info(repo_id, revision=revision).sha
        try:
            document = read_document(Path(api.hf_hub_download(repo_id, CALIBRATION_NAME, revision=parent)))
        except RemoteEntryNotFoundError:
            document = {}
        commit = api.upload_file(
            path_or_fileobj=render_document(merge_entry(document, key, self.probabilities, self.metadata)).encode(),
            path_in_repo=CALIBRATION_NAME,
            repo_id=repo_id,
            revision=revision,
            parent_commit=parent,
            commit_message=commit_message,
        )
        return commit.commit_url

    @classmethod
    def _from_file(cls, path: Path, key: str) -> "CriticCalibration | None":
        document = read_document(path)
        entry = find_entry(document, key, path)
        if entry is None:
            return None
        return cls(document[entry], document.get(METADATA_KEY, {}).get("entries", {}).get(entry))

    def __reduce__(self):
        return type(self), (self._probabilities, self._metadata)  # device copies are not worth carrying along

    def __eq__(self, other) -> bool:
        if not isinstance(other, CriticCalibration):
            return NotImplemented
        return (self._probabilities, self._metadata) == (other._probabilities, other._metadata)

    def __hash__(self) -> int:
        return hash(self._probabilities)

    def __repr__(self) -> str:
        kind = "ramp" if self.is_ramp else self._metadata.get("method", "given")
        return f"CriticCalibration({kind}, {self._probabilities[0]:.4f} .. {self._probabilities[-1]:.4f})"


def weights_fingerprint(named_tensors: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """A short proof that a table and a set of weights belong together.

    SHA-256 over names, shapes and up to 4096 evenly spaced elements of each tensor: reading all of a large model
    would cost more than loading it, while training moves nearly every element. Elements are rounded to bfloat16, so a
    float32 checkpoint and the same checkpoint loaded in bfloat16 agree; they rank and score alike. (float16 may not
    agree: rounding twice is another rounding.) Wrappers of DDP and `torch.compile` do not change the answer.

    Args:
        named_tensors (`dict` or iterable of `(str, torch.Tensor)`): for instance `model.named_parameters()`.

    Returns:
        `str` or `None`: 64 hexadecimal digits; `None` if any tensor is on the meta device and has no values yet.
    """
    pairs = named_tensors.items() if isinstance(named_tensors, Mapping) else named_tensors
    named = [(re.sub(r"^((_orig_mod|module)\.)+", "", name), tensor) for name, tensor in pairs]
    if any(tensor.is_meta for _, tensor in named):
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        flat = tensor.detach().reshape(-1)
        sample = flat[:: max(1, -(-flat.numel() // FINGERPRINT_SAMPLE))].to(torch.bfloat16).cpu()
        digest.update(f"{name}{list(tensor.shape)}\n".encode())
        digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
