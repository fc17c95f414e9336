# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the table of error probabilities: looking up, keeping it by the weights, the hub."""

import copy
import json
import math
import multiprocessing
import os
import pickle

import huggingface_hub.constants
import huggingface_hub.errors
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback_hub import LoopbackHub, Repository
from refusals import refused

from critic_gpt.calibration.file import CALIBRATION_NAME, NUM_BUCKETS
from critic_gpt.calibration.table import DEFAULT_WEIGHTS_NAME, CriticCalibration, score_buckets


few = settings(max_examples=50, deadline=None)
tables = st.lists(st.floats(0, 1), min_size=100, max_size=100)
logit_lists = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=40)


@pytest.fixture(scope="module", autouse=True)
def locks(tmp_path_factory):
    """The folder of the lock files, instead of the system's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("locks")
        patch.setattr("tempfile.tempdir", str(folder))
        yield folder


def some_table(seed=0):
    return CriticCalibration(np.sort(np.random.default_rng(seed).random(NUM_BUCKETS)))


# --- looking up ------------------------------------------------------------------------------------------------------


@given(tables, logit_lists)
@few
def test_error_probability_is_the_table_at_the_bucket(table, logits):
    logits = torch.tensor(logits)
    probability = CriticCalibration(table).error_probability(logits)
    assert probability.tolist() == torch.tensor(table)[score_buckets(logits)].tolist()
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize("given_dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["error_probability", "error_log_odds"])
def test_a_lookup_keeps_the_shape_is_float32_unless_float64_and_compiles_into_one_graph(name, given_dtype):
    logits, look = torch.randn(2, 3, 4).to(given_dtype), getattr(some_table(), name)
    # First under the compiler: no fake tensor stays behind.
    compiled = torch.compile(look, fullgraph=True, backend="eager")(logits)
    assert torch.equal(compiled, getattr(some_table(), name)(logits)) and torch.equal(look(logits), compiled)
    assert compiled.shape == (2, 3, 4)
    assert compiled.dtype == (torch.float64 if given_dtype == torch.float64 else torch.float32)


def test_a_broken_score_does_not_pass_for_a_safe_one():
    for look in (some_table().error_probability, some_table().error_log_odds):
        assert look(torch.tensor([[math.nan, 0.0]])).isnan().tolist() == [[True, False]]


def test_a_table_first_used_in_inference_mode_serves_training_as_well():
    calibration, logits = some_table(), torch.zeros(3)
    with torch.inference_mode():
        calibration.error_probability(logits)
    weight = torch.ones(3, requires_grad=True)
    (calibration.error_probability(logits) * weight).sum().backward()
    assert weight.grad is not None


# --- log-odds ------------------------------------------------------------------------------------------------------

MIDDLES = torch.logit((torch.arange(NUM_BUCKETS, dtype=torch.float64) + 0.5) / NUM_BUCKETS)


@given(tables, logit_lists)
@few
def test_log_odds_are_the_table_drawn_through_the_middles_of_its_buckets(table, logits):
    levels = np.log(np.clip(table, 1e-4, 1 - 1e-4) / (1 - np.clip(table, 1e-4, 1 - 1e-4)))
    scores = np.clip(logits, -30, 30)  # float32 knows no more of a sigmoid
    inside = np.interp(scores, MIDDLES, levels)
    expected = inside + np.minimum(scores - MIDDLES[0].item(), 0) + np.maximum(scores - MIDDLES[-1].item(), 0)
    odds = CriticCalibration(table).error_log_odds(torch.tensor(scores, dtype=torch.float64))
    np.testing.assert_allclose(odds.numpy(), expected, atol=1e-5)


@given(logit_lists)
@few
def test_log_odds_of_a_table_that_never_falls_never_fall(logits):
    scores = torch.tensor(sorted(logits), dtype=torch.float64)
    assert (some_table().error_log_odds(scores).diff() >= -1e-9).all()


def test_log_odds_tell_scores_of_one_bucket_apart_and_know_no_certainty():
    odds = CriticCalibration([0.0] * 50 + [1.0] * 50).error_log_odds(torch.tensor([-9.0, -7.0, 7.0, 9.0]))
    assert odds.isfinite().all() and odds[0] < odds[1] < math.log(1e-4) and odds[3] > odds[2] > -math.log(1e-4)


def test_without_a_table_the_log_odds_are_nearly_the_score():
    scores = torch.linspace(-4.0, 4.0, 81)
    torch.testing.assert_close(CriticCalibration.ramp().error_log_odds(scores), scores, rtol=0, atol=0.25)


def test_ramp_has_the_documented_values():
    ramp = CriticCalibration.ramp()
    assert ramp.probabilities[0] == 0.01
    assert ramp.probabilities[50] == pytest.approx(0.50495, abs=1e-5)
    assert ramp.probabilities[99] == pytest.approx(0.99, abs=1e-15)
    assert ramp.is_ramp and not some_table().is_ramp


def test_calibration_is_immutable_equal_by_value_and_copies_whole():
    calibration = CriticCalibration([0.5] * 100, metadata={"nested": {"counts": [1, 2]}})
    calibration.error_probability(torch.zeros(1))
    calibration.metadata["nested"]["counts"].append(3)
    assert calibration.metadata == {"nested": {"counts": [1, 2]}}
    with pytest.raises(AttributeError):
        calibration.probabilities = (0.0,) * 100
    for twin in (copy.deepcopy(calibration), pickle.loads(pickle.dumps(calibration))):
        assert twin == calibration and hash(twin) == hash(calibration)
    assert calibration.with_metadata(source="val").metadata["source"] == "val" and "source" not in calibration.metadata


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0.5] * 99, ["99"]),
        ([0.5] * 7 + [1.5] + [0.5] * 92, ["index 7", "1.5"]),
        ([0.5] * 7 + [math.nan] + [0.5] * 92, ["index 7", "nan"]),
        ([0.5] * 99 + [math.inf], ["index 99", "inf"]),
        ([0.5] * 99 + ["0.5"], ["index 99", "'0.5'"]),
        ([True] * 100, ["index 0", "True"]),
        (0.5, ["0.5"]),
    ],
)
def test_an_impossible_table_is_refused_with_index_and_value(values, named):
    with refused("`probabilities`", *named):
        CriticCalibration(values)


def test_metadata_that_json_cannot_hold_is_refused():
    for value in (torch.zeros(1), math.nan):
        with refused("`metadata`"):
            CriticCalibration([0.5] * 100, metadata={"value": value})


def test_a_table_matches_its_own_weights_and_anything_unknown():
    calibration = some_table().with_metadata(fingerprint="a" * 64)
    assert calibration.matches("a" * 64) and calibration.matches(None) and some_table().matches("b" * 64)
    assert not calibration.matches("b" * 64)


# --- the file --------------------------------------------------------------------------------------------------------


@given(tables)
@settings(max_examples=25, deadline=None)
def test_saving_and_loading_is_the_identity(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("model")
    calibration = CriticCalibration(table, metadata={"ece": 0.1, "auroc": None, "fold": (1, 2)})
    calibration.save(folder)
    assert CriticCalibration.load(folder) == calibration
    assert CriticCalibration.load(folder).probabilities == tuple(table)


def test_file_has_exactly_the_documented_shape_and_the_folder_nothing_else(tmp_path):
    some_table().with_metadata(source="a").save(tmp_path, key="model.safetensors@trajectory")
    path = some_table(1).with_metadata(source="b").save_pretrained(tmp_path)
    document = json.loads(path.read_text())
    assert list(document) == ["model.safetensors", "model.safetensors@trajectory", "__metadata__"]
    assert document["model.safetensors"] == list(some_table(1).probabilities)
    assert document["__metadata__"] == {
        "format_version": 1,
        "entries": {"model.safetensors": {"source": "b"}, "model.safetensors@trajectory": {"source": "a"}},
    }
    assert [file.name for file in tmp_path.iterdir()] == [CALIBRATION_NAME]


def test_the_order_of_saving_does_not_change_the_bytes(tmp_path):
    for folder, keys in (("a", ["x.pt", "y.pt"]), ("b", ["y.pt", "x.pt"])):
        for key in keys:
            some_table(ord(key[0])).with_metadata(z=1, a=2).save(tmp_path / folder, key=key)
    assert (tmp_path / "a" / CALIBRATION_NAME).read_bytes() == (tmp_path / "b" / CALIBRATION_NAME).read_bytes()


def test_a_missing_file_folder_or_entry_is_none(tmp_path):
    assert CriticCalibration.load(tmp_path) is None
    assert CriticCalibration.load(tmp_path / "nowhere") is None
    some_table().save(tmp_path)
    assert CriticCalibration.load(tmp_path, key="ckpt.pt") is None


@pytest.mark.parametrize("old", ["/old/machine/run/ckpt.pt", "C:\\run\\ckpt.pt", "run/ckpt.pt"])
def test_old_path_like_keys_are_found_by_their_last_part(tmp_path, old):
    (tmp_path / CALIBRATION_NAME).write_text(json.dumps({old: [0.25] * 100}))
    for key in ("ckpt.pt", "elsewhere/ckpt.pt", "D:\\x\\ckpt.pt", old):
        assert CriticCalibration.load(tmp_path, key=key).probabilities == (0.25,) * 100
    assert CriticCalibration.load(tmp_path, key="other.pt") is None


def test_an_exact_key_wins_and_an_ambiguous_one_is_refused(tmp_path):
    tables = {"a/ckpt.pt": [0.1] * 100, "b/ckpt.pt": [0.2] * 100}
    (tmp_path / CALIBRATION_NAME).write_text(json.dumps(tables))
    assert CriticCalibration.load(tmp_path, key="b/ckpt.pt").probabilities[0] == 0.2
    with refused("`key`", "a/ckpt.pt", "b/ckpt.pt"):
        CriticCalibration.load(tmp_path, key="c/ckpt.pt")
    (tmp_path / CALIBRATION_NAME).write_text(json.dumps({**tables, "ckpt.pt": [0.3] * 100}))
    assert CriticCalibration.load(tmp_path, key="ckpt.pt").probabilities[0] == 0.3


@pytest.mark.parametrize("key", ["", "/", "__metadata__", "x/__metadata__"])
def test_impossible_keys_are_refused(tmp_path, key):
    for act in (lambda: some_table().save(tmp_path, key=key), lambda: CriticCalibration.load(tmp_path, key=key)):
        with refused("`key`", repr(key)):
            act()


def file_of(values, **more):
    return json.dumps({DEFAULT_WEIGHTS_NAME: values, **more})


HALF = [0.5] * 100


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{half a", "JSON"),
        ("", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        ("[1, 2]", "list"),
        ('{"other": "tool"}', "'tool'"),
        (file_of(HALF[1:]), "99"),
        (file_of([0.5] * 3 + ["x"] + [0.5] * 96), "index 3"),
        *((file_of([*HALF[1:], bad]), said) for bad, said in [(1.01, "1.01"), (-0.01, "-0.01"), (math.nan, "NaN")]),
        *((file_of([*HALF[1:], bad]), str(bad)) for bad in (None, True)),
        *((file_of(HALF, __metadata__={"format_version": bad}), repr(bad)) for bad in (2, "1")),
        (file_of(HALF, __metadata__=[]), "__metadata__"),
        (file_of(HALF, __metadata__={"entries": {"model.safetensors": 3}}), "entries"),
    ],
)
def test_corrupt_and_foreign_files_are_refused_and_left_untouched(tmp_path, text, named):
    path = tmp_path / CALIBRATION_NAME
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    for act in (CriticCalibration.load, CriticCalibration.from_pretrained, some_table().save):
        with refused(str(path), named, "left as it is"):
            act(tmp_path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [CALIBRATION_NAME]


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "model").write_text("a file")
    with refused("`folder`", "model"):
        some_table().save(tmp_path / "model")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="uses forked processes")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_concurrent_writers_lose_nothing(tmp_path):
    keys, table = [[f"writer{writer}_{turn}.pt" for turn in range(8)] for writer in range(6)], some_table()
    fork = multiprocessing.get_context("fork").Process
    writers = [fork(target=lambda own=own: [table.save(tmp_path, key=key) for key in own]) for own in keys]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 6
    document = json.loads((tmp_path / CALIBRATION_NAME).read_text())
    assert sorted(document) == sorted([key for own in keys for key in own] + ["__metadata__"])
    assert [file.name for file in tmp_path.iterdir()] == [CALIBRATION_NAME]


# --- the hub, on the loopback interface ------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that this process talks to, with an empty repository `me/model`."""
    constants = huggingface_hub.constants
    with LoopbackHub() as running:
        running.repositories["me/model"] = Repository()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its retries
        move_to(running.url, monkeypatch)
        yield running


def move_to(url, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_pushing_merges_with_the_remote_file_and_names_the_state_it_merged_with(hub):
    repository = hub.repositories["me/model"]
    some_table(1).push_to_hub("me/model", token="writer")
    assert CriticCalibration.from_pretrained("me/model") == some_table(1)
    address = some_table(2).push_to_hub("me/model", key="model.safetensors@trajectory", token="writer")
    assert address.startswith(f"{hub.url}/me/model/commit/")
    assert list(repository.files()) == [CALIBRATION_NAME] and len(repository.commits) == 3  # made, and both tables
    for key, seed in ((DEFAULT_WEIGHTS_NAME, 1), ("model.safetensors@trajectory", 2)):
        assert CriticCalibration.from_pretrained("me/model", key) == some_table(seed)
    # What somebody else pushes in between is not overwritten: that state is not the one it was merged with.
    hub.before_commit = lambda: repository.commit({CALIBRATION_NAME: b"{}"}, "main")
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="A commit has happened since"):
        some_table(3).push_to_hub("me/model", token="writer")
    assert repository.files() == {CALIBRATION_NAME: b"{}"}


def test_a_foreign_remote_file_is_refused_and_not_overwritten(hub):
    hub.repositories["me/model"].commit({CALIBRATION_NAME: b"not ours"}, "main")
    with pytest.raises(ValueError):
        some_table().push_to_hub("me/model", token="writer")
    assert hub.repositories["me/model"].files() == {CALIBRATION_NAME: b"not ours"}


def test_a_repository_without_a_table_gives_none(hub):
    assert CriticCalibration.from_pretrained("me/model") is None
    assert CriticCalibration.from_pretrained("me/model", subfolder="critic") is None


def test_the_subfolder_and_the_cache_are_honoured(hub, tmp_path, monkeypatch):
    content = some_table().save(tmp_path).read_bytes()
    hub.repositories["me/model"].commit({f"critic/{CALIBRATION_NAME}": content}, "main")
    where = {"subfolder": "critic", "cache_dir": tmp_path / "own"}
    assert CriticCalibration.from_pretrained("me/model", local_files_only=True, **where) is None
    assert CriticCalibration.from_pretrained("me/model", **where) == some_table()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert CriticCalibration.from_pretrained("me/model", **where) == some_table()
    assert CriticCalibration.from_pretrained("me/model") is None  # nothing in the common cache


def test_at_a_pinned_commit_the_cache_is_asked_and_not_the_hub(hub):
    pinned = {"revision": hub.repositories["me/model"].branches["main"]}
    assert CriticCalibration.from_pretrained("me/model", **pinned) is None
    asked = len(hub.requests)
    assert CriticCalibration.from_pretrained("me/model", **pinned) is None
    assert len(hub.requests) == asked > 0


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusing_hub_is_an_error_and_not_a_missing_table(hub, status):
    hub.refuses_with = status
    with pytest.raises(OSError):
        CriticCalibration.from_pretrained("me/model")


def test_an_unreachable_hub_is_an_error_unless_the_absence_is_known(hub, monkeypatch):
    assert CriticCalibration.from_pretrained("me/model") is None
    move_to("http://127.0.0.1:9", monkeypatch)
    assert CriticCalibration.from_pretrained("me/model") is None
    with refused("me/unknown", CALIBRATION_NAME, "local_files_only", error=OSError):
        CriticCalibration.from_pretrained("me/unknown")


def test_a_local_folder_needs_no_hub(tmp_path):
    some_table().save(tmp_path / "critic")
    assert CriticCalibration.from_pretrained(tmp_path) is None
    assert CriticCalibration.from_pretrained(tmp_path, subfolder="critic") == some_table()
