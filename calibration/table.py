# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The table of 100 error probabilities: look critic scores up in it, keep it by the weights, fetch it from the hub.

Legend: p = sigmoid(critic logit), bucket = min(99, floor(100 p)), higher logit = more likely wrong.
"""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import _CACHED_NO_EXIST, HfApi, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import RemoteEntryNotFoundError
from transformers.utils import logging
from transformers.utils.hub import cached_file

from critic_gpt.calibration.file import (
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
from critic_gpt.calibration.fingerprint import fingerprints_agree


logger = logging.get_logger(__name__)

DEFAULT_WEIGHTS_NAME = "model.safetensors"  # what `save_pretrained` calls the weights
# Log-odds are infinite at P = 0 and 1, which a table may hold for a bucket with few tokens.
LOWEST_RATE = 1e-4


def score_buckets(critic_logits: torch.Tensor) -> torch.Tensor:
    """The bucket of each score, `min(99, floor(100 * sigmoid(logit)))`: the one rule for counting and for looking up.

    The arithmetic is float32 whatever comes in: bfloat16 has too few digits to tell 100 buckets apart, and a table
    counted in one precision and read in another would shift scores that sit on a boundary.
    Any shape in, a `torch.LongTensor` of that shape with values 0 to 99 out.
    """
    # To whole numbers by cutting, which of what is not negative is the floor.
    return (torch.sigmoid(critic_logits.float()) * NUM_BUCKETS).long().clamp_(0, NUM_BUCKETS - 1)


def find_calibration_file(
    pretrained_model_name_or_path: str | os.PathLike,
    *,
    subfolder: str = "",
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path | None:
    """The `calibration.json` of a local folder or a hub repository; the arguments mean what they mean for models.

    `None` if the repository has no such file, or if only local files may be used and none is cached.

    Raises:
        `OSError`: the hub cannot be reached, or refuses access; "there is none" is never guessed from that.
    """
    repo = os.fspath(pretrained_model_name_or_path)
    subfolder = subfolder or ""
    where = {"revision": revision, "cache_dir": cache_dir}
    # Without this flag `cached_file` raises one OSError for "no such file" and "no connection" alike.
    quiet = {"_raise_exceptions_for_missing_entries": False}
    access = {"token": token, "local_files_only": local_files_only, "force_download": force_download}
    found = cached_file(repo, CALIBRATION_NAME, subfolder=subfolder, **where, **access, **quiet)
    if found is not None:
        return Path(found)
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


def looked_up(table: torch.Tensor, critic_logits: torch.Tensor) -> torch.Tensor:
    """P(wrong) of scores by a table (100,); see [`CriticCalibration.error_probability`]."""
    return table.take(score_buckets(critic_logits)).masked_fill_(critic_logits.isnan(), float("nan"))


def interpolated(log_odds: tuple[torch.Tensor, ...], critic_logits: torch.Tensor) -> torch.Tensor:
    """Log-odds of scores by [`CriticCalibration.log_odds`]; see [`CriticCalibration.error_log_odds`]."""
    levels, rises, middles, widths = log_odds
    scores = critic_logits.to(levels.dtype)
    left = torch.searchsorted(middles, scores.contiguous()).sub_(1).clamp_(0, NUM_BUCKETS - 2)
    share = (scores - middles.take(left)).div_(widths.take(left)).clamp_(0.0, 1.0)
    beyond = (scores - middles[0]).clamp_(max=0.0) + (scores - middles[-1]).clamp_(min=0.0)
    return torch.lerp(levels.take(left), rises.take(left), share) + beyond


def _read_in(critic_logits: torch.Tensor) -> torch.dtype:
    return torch.float64 if critic_logits.dtype == torch.float64 else torch.float32


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
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"`metadata` must hold only what JSON can, got {error}; turn tensors into lists and NaN into None."
            ) from error
        self._tables: dict[tuple, torch.Tensor | tuple[torch.Tensor, torch.Tensor]] = {}

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

    @classmethod
    def or_ramp(cls, table: "CriticCalibration | None", warn: bool = True) -> "CriticCalibration":
        """A model's table or, with one warning, the ramp where it has none."""
        if table is None and warn:
            logger.warning_once(
                "The critic is not calibrated: its scores are read as error probabilities by a plain ramp. Run "
                "scripts/calibrate.py for true ones."
            )
        return cls.ramp() if table is None else table

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
        return looked_up(self.table(critic_logits.device, _read_in(critic_logits)), critic_logits)

    def error_log_odds(self, critic_logits: torch.Tensor) -> torch.Tensor:
        """
        `log(P / (1 - P))` of P(wrong) by the table, drawn through the middles of its buckets: a finer scale than
        `error_probability`, on which two scores of one bucket are told apart. Beyond the outer buckets it rises as the
        raw score does. A table that never falls gives log-odds that never fall.

        Any shape on any device in; the same out: float64 for float64 input, else float32. NaN stays NaN. Buckets in
        which none, or all, of the tokens were wrong count as P = 1e-4 and 1 - 1e-4.
        """
        return interpolated(self.log_odds(critic_logits.device, _read_in(critic_logits)), critic_logits)

    def log_odds(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> tuple[torch.Tensor, ...]:
        """
        The table as log-odds (100,), those of the next bucket (99,), the middles of its buckets as scores (100,), and
        how far each is from the next (99,), kept as [`CriticCalibration.table`] is.
        """
        device = torch.device(device)
        key = ("log odds", device, dtype)
        kept = self._tables.get(key)
        if kept is None and torch.compiler.is_compiling():
            kept = self._made_log_odds(device, dtype)
        elif kept is None:
            with torch.inference_mode(False):
                kept = self._tables[key] = self._made_log_odds(device, dtype)
        return kept

    def _made_log_odds(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        levels = self.table(device, dtype).clamp(LOWEST_RATE, 1.0 - LOWEST_RATE).logit()
        middles = (torch.arange(NUM_BUCKETS, dtype=dtype, device=device) + 0.5).div(NUM_BUCKETS).logit()
        return levels, levels[1:].clone(), middles, middles[1:] - middles[:-1]

    def matches(self, fingerprint: str | None) -> bool:
        """Whether the table belongs to weights with this `weights_fingerprint`; `True` if either side is unknown."""
        own = self._metadata.get("fingerprint")
        return own is None or fingerprint is None or own == fingerprint

    def fits(self, fingerprints: Sequence[str] | None) -> bool:
        """As [`matches`], by all [`weights_fingerprints`]: also where one of both was rounded to float16."""
        own = self._metadata.get("fingerprint")
        if own is None or fingerprints is None:
            return True
        return fingerprints_agree([own, *(self._metadata.get("fingerprints_float16") or ())], fingerprints)

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
        return cls.from_file(Path(folder) / CALIBRATION_NAME, key)

    @classmethod
    def from_file(cls, path: Path, key: str = DEFAULT_WEIGHTS_NAME) -> "CriticCalibration | None":
        """The table that `key` means in the file `path`; `None` without one, `ValueError` if the file is not ours."""
        document = read_document(path)
        entry = find_entry(document, key, path)
        if entry is None:
            return None
        return cls(document[entry], document.get(METADATA_KEY, {}).get("entries", {}).get(entry))

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, key: str = DEFAULT_WEIGHTS_NAME, **location
    ) -> "CriticCalibration | None":
        """`load` from a local folder or a hub repository.

        `location` are arguments of `find_calibration_file`. `None` if the repository has no such file or entry, or if
        only local files may be used and none is cached.

        Raises:
            `OSError`: the hub cannot be reached, or refuses access; "there is no table" is never guessed from that.
            `ValueError`: a corrupt or foreign file.
        """
        path = find_calibration_file(pretrained_model_name_or_path, **location)
        return None if path is None else cls.from_file(path, key)

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
        with, so that the hub refuses it if somebody else pushed in between (then push again). A branch `revision` that
        does not exist is made, as when a model is pushed.

        `key` is that of `save`, the other arguments are those of the hub's client. Returns the address of the commit;
        raises `ValueError` if the remote file is corrupt or foreign, and leaves it untouched.
        """
        key, api = entry_name(key), HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with the user's name
        if revision is not None and not revision.startswith("refs/pr/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
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
