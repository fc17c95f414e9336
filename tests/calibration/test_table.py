# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the table of error probabilities: looking up, keeping it by the weights, the hub."""

import copy
import json
import math
import multiprocessing
import os
import pickle
import signal

import huggingface_hub.constants
import huggingface_hub.errors
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback_hub import LoopbackHub, Repository

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


def assert_one_sentence(error, *named):
    message = str(error.value)
    assert all(part in message for part in named), message
    assert message.endswith(".") and "\n" not in message


# --- looking up ------------------------------------------------------------------------------------------------------


@given(tables, logit_lists)
@few
def test_error_probability_is_the_table_at_the_bucket(table, logits):
    logits = torch.tensor(logits)
    probability = CriticCalibration(table).error_probability(logits)
    assert probability.tolist() == torch.tensor(table)[score_buckets(logits)].tolist()
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_error_probability_keeps_the_shape_and_is_float32_unless_float64(given_dtype, dtype):
    probability = some_table().error_probability(torch.randn(2, 3, 4, dtype=torch.float32).to(given_dtype))
    assert probability.shape == (2, 3, 4) and probability.dtype == dtype


def test_a_broken_score_does_not_pass_for_a_safe_one():
    probability = some_table().error_probability(torch.tensor([math.nan, 0.0]))
    assert probability[0].isnan() and not probability[1].isnan()


def test_lookup_compiles_into_one_graph_and_leaves_no_fake_tensor_behind():
    logits, calibration = torch.randn(2, 5), some_table()
    compiled = torch.compile(calibration.error_probability, fullgraph=True, backend="eager")
    assert torch.equal(compiled(logits), some_table().error_probability(logits))
    assert torch.equal(calibration.error_probability(logits), compiled(logits))


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
    assert some_table().error_log_odds(torch.tensor([[math.nan, 0.0]])).isnan().tolist() == [[True, False]]


def test_without_a_table_the_log_odds_are_nearly_the_score():
    scores = torch.linspace(-4.0, 4.0, 81)
    torch.testing.assert_close(CriticCalibration.ramp().error_log_odds(scores), scores, rtol=0, atol=0.25)


@pytest.mark.parametrize("given_dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_log_odds_keep_the_shape_and_compile(given_dtype):
    logits, calibration = torch.randn(2, 3, 4).to(given_dtype), some_table()
    odds = calibration.error_log_odds(logits)
    assert odds.shape == (2, 3, 4)
    assert odds.dtype == (torch.float64 if given_dtype == torch.float64 else torch.float32)
    compiled = torch.compile(calibration.error_log_odds, fullgraph=True, backend="eager")
    assert torch.equal(compiled(logits), odds)


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
    with pytest.raises(ValueError) as error:
        CriticCalibration(values)
    assert_one_sentence(error, "`probabilities`", *named)


def test_metadata_that_json_cannot_hold_is_refused():
    for value in (torch.zeros(1), math.nan):
        with pytest.raises(ValueError) as error:
            CriticCalibration([0.5] * 100, metadata={"value": value})
        assert_one_sentence(error, "`metadata`")


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


def test_the_file_may_be_read_by_whom_the_umask_allows(tmp_path):
    (tmp_path / "plain").touch()
    mode = some_table().save(tmp_path).stat().st_mode
    assert mode == (tmp_path / "plain").stat().st_mode


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
    with pytest.raises(ValueError) as error:
        CriticCalibration.load(tmp_path, key="c/ckpt.pt")
    assert_one_sentence(error, "`key`", "a/ckpt.pt", "b/ckpt.pt")
    (tmp_path / CALIBRATION_NAME).write_text(json.dumps({**tables, "ckpt.pt": [0.3] * 100}))
    assert CriticCalibration.load(tmp_path, key="ckpt.pt").probabilities[0] == 0.3


def test_saved_keys_never_contain_a_path_of_the_machine(tmp_path):
    path = some_table().save(tmp_path, key=str(tmp_path / "ckpt.pt"))
    assert list(json.loads(path.read_text())) == ["ckpt.pt", "__metadata__"]


@pytest.mark.parametrize("key", ["", "/", "__metadata__", "x/__metadata__"])
def test_impossible_keys_are_refused(tmp_path, key):
    for act in (lambda: some_table().save(tmp_path, key=key), lambda: CriticCalibration.load(tmp_path, key=key)):
        with pytest.raises(ValueError) as error:
            act()
        assert_one_sentence(error, "`key`", repr(key))


def with_metadata(metadata):
    return json.dumps({DEFAULT_WEIGHTS_NAME: [0.5] * 100, "__metadata__": metadata})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{half a", "JSON"),
        ("", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        ("[1, 2]", "list"),
        ('{"other": "tool"}', "'tool'"),
        (json.dumps({"model.safetensors": [0.5] * 99}), "99"),
        (json.dumps({"model.safetensors": [0.5] * 3 + ["x"] + [0.5] * 96}), "index 3"),
        (json.dumps({"model.safetensors": [0.5] * 99 + [1.01]}), "1.01"),
        (json.dumps({"model.safetensors": [0.5] * 99 + [-0.01]}), "-0.01"),
        (json.dumps({"model.safetensors": [0.5] * 99 + [math.nan]}), "NaN"),
        (json.dumps({"model.safetensors": [0.5] * 99 + [None]}), "None"),
        (json.dumps({"model.safetensors": [0.5] * 99 + [True]}), "True"),
        (with_metadata({"format_version": 2}), "2"),
        (with_metadata({"format_version": "1"}), "'1'"),
        (with_metadata([]), "__metadata__"),
        (with_metadata({"entries": {"model.safetensors": 3}}), "entries"),
    ],
)
def test_corrupt_and_foreign_files_are_refused_and_left_untouched(tmp_path, text, named):
    path = tmp_path / CALIBRATION_NAME
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    for act in (CriticCalibration.load, CriticCalibration.from_pretrained, some_table().save):
        with pytest.raises(ValueError) as error:
            act(tmp_path)
        assert_one_sentence(error, str(path), named, "left as it is")
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [CALIBRATION_NAME]


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(ValueError) as error:
        some_table().save(tmp_path / "model")
    assert_one_sentence(error, "`folder`", "model")


def test_saving_into_a_cache_replaces_the_link_and_not_what_it_points_to(tmp_path):
    blob = some_table(1).save(tmp_path / "blobs")
    before = blob.read_bytes()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / CALIBRATION_NAME).symlink_to(blob)
    some_table(2).save(tmp_path / "snapshot")
    assert blob.read_bytes() == before
    assert CriticCalibration.load(tmp_path / "snapshot") == some_table(2)


def run_forked(*jobs):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=job) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="uses forked processes")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_concurrent_writers_lose_nothing(tmp_path):
    writers, saves = 6, 8
    keys = [[f"writer{writer}_{turn}.pt" for turn in range(saves)] for writer in range(writers)]
    table = some_table()
    codes = run_forked(*(lambda own=own: [table.save(tmp_path, key=key) for key in own] for own in keys))
    assert codes == [0] * writers
    document = json.loads((tmp_path / CALIBRATION_NAME).read_text())
    assert sorted(document) == sorted([key for own in keys for key in own] + ["__metadata__"])
    assert [file.name for file in tmp_path.iterdir()] == [CALIBRATION_NAME]


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_writer_killed_in_the_middle_leaves_the_old_file_and_blocks_nobody(tmp_path):
    path = some_table(1).save(tmp_path)
    before = path.read_bytes()

    def dies_before_replacing():
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        some_table(2).save(tmp_path)

    assert run_forked(dies_before_replacing) == [-signal.SIGKILL]
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3  # its temporary file and its lock, which is free
    some_table(3).save(tmp_path)
    assert CriticCalibration.load(tmp_path) == some_table(3)
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
    with pytest.raises(OSError) as error:
        CriticCalibration.from_pretrained("me/unknown")
    assert_one_sentence(error, "me/unknown", CALIBRATION_NAME, "local_files_only")


def test_a_local_folder_needs_no_hub(tmp_path):
    some_table().save(tmp_path / "critic")
    assert CriticCalibration.from_pretrained(tmp_path) is None
    assert CriticCalibration.from_pretrained(tmp_path, subfolder="critic") == some_table()
