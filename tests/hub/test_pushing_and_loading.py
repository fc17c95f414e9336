# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the hub, on the wire: pushed by this package, loaded with it and without it, refused, broken off."""

import json
from pathlib import Path

import clean_process
import pytest
from loopback_hub import LoopbackHub

from critic_gpt.hub.folder import AUTO_MAP, PIPELINES, source_files


pytestmark = pytest.mark.slow

TESTS = str(Path(__file__).parents[1] / "helpers")
TASKS = sorted(PIPELINES)
CODE = set(source_files())
MODEL = CODE | {"config.json", "generation_config.json", "model.safetensors", "calibration.json", "README.md"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}

# What went wrong, as a user would see it: the classes of the error and of what it came from.
HELPERS = """
import sys
sys.path.insert(0, sys.argv[1])
tasks = sys.argv[2].split()
work = sys.argv[3]

def refusal(action, *arguments, **keywords):
    try:
        return "no error: " + repr(action(*arguments, **keywords))
    except Exception as error:
        return [*(cls.__name__ for cls in type(error).__mro__), " ".join(str(error).split())]
"""
PUSH = (
    HELPERS
    + """
import copy, os, torch
from transformers import pipeline
from critic_gpt import *
from critic_gpt.tasks.tokenizers import build_character_tokenizer
from model_look import generated, look

def make(seed):
    torch.manual_seed(seed)
    sizes = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=48)
    config = CriticGPTConfig(**sizes, pad_token_id=0, mask_token_id=1, add_critic_head=True, initializer_range=0.3)
    model = CriticGPTForMaskedLM(config).eval()
    torch.nn.init.normal_(model.critic_head.weight)
    own = {"fingerprint": model.fingerprint()}
    model.calibration = CriticCalibration([(i / 99) ** 2 for i in range(100)], own)
    model.trajectory_calibration = CriticCalibration([1 - i / 99 for i in range(100)], {**own, "remasking": "critic"})
    return model

tokenizer = build_character_tokenizer("abcdefghijklmnopqrstuvwxyz \\n.,", model_max_length=48)
model, other = make(0), make(1)
result = {"fingerprints": [model.fingerprint(), other.fingerprint()]}

# The parts one by one, another state on a branch, and a table that is measured later.
result["commit"] = model.push_to_hub("me/parts")
tokenizer.push_to_hub("me/parts")
other.push_to_hub("me/parts", revision="other")
later = model.calibration.with_metadata(measured="later")
later.push_to_hub("me/parts")
later.push_to_hub("me/parts", key="model.ema.safetensors", revision="tables")
# In one go.
pipe = pipeline(tasks[0], model=model, tokenizer=tokenizer)
pipe.push_to_hub("me/whole", private=True)
saved = {"push_to_hub": True, "repo_id": "me/saved", "commit_message": "first", "private": True}
model.save_pretrained(work + "/saved", max_shard_size="5KB", **saved)
tokenizer.save_pretrained(work + "/saved", **saved)
other.config.push_to_hub("me/configuration")
model.push_to_hub("me/asked", create_pr=True)
# Weights in a folder of the repository, the code at its root.
from huggingface_hub import HfApi
tokenizer.save_pretrained(work + "/nested/inner")
other.save_pretrained(work + "/nested/inner")
other.config.save_pretrained(work + "/nested")
HfApi().create_repo("me/nested")
HfApi().upload_folder(repo_id="me/nested", folder_path=work + "/nested")

# Refused, and broken off. Each model differs from what is there, so that something has to be sent.
def save(**how):
    return model.save_pretrained(work + "/refused", push_to_hub=True, repo_id="me/refused", **how)

result["refused"] = {
    "wrong token": refusal(model.push_to_hub, "me/new", token="nobodys"),
    "read token": refusal(model.push_to_hub, "me/new", token="reader"),
    "another's token": refusal(model.push_to_hub, "me/parts", token="stranger"),
    "no token": refusal(model.push_to_hub, "me/new", token=False),
    "table, read token": refusal(later.push_to_hub, "me/parts", token="reader"),
    "save, wrong token": refusal(save, token="nobodys"),
}
result["written"] = sorted(os.listdir(work + "/refused"))
for name in ("drop", "500"):
    model.push_to_hub("me/" + name)
    result[name] = [refusal(other.push_to_hub, "me/" + name)]
    result[name].append(CriticGPTForMaskedLM.from_pretrained("me/" + name).fingerprint())
    other.push_to_hub("me/" + name)
    result[name].append(CriticGPTForMaskedLM.from_pretrained("me/" + name).fingerprint())
result["first"] = [refusal(model.push_to_hub, "me/first"), refusal(CriticGPTForMaskedLM.from_pretrained, "me/first")]

# Somebody else pushes a table between our reading and our writing.
from critic_gpt.calibration import table as module
rendered = module.render_document
def render(document):
    module.render_document = rendered
    later.push_to_hub("me/parts", key="model.theirs.safetensors")
    return rendered(document)
module.render_document = render
result["overtaken"] = refusal(later.push_to_hub, "me/parts", key="model.ours.safetensors")

# The Trainer, at every save and at the end.
args = CriticTrainingArguments(
    output_dir=work + "/trained", use_cpu=True, disable_tqdm=True, report_to="none", max_steps=2, save_steps=1,
    per_device_train_batch_size=2, push_to_hub=True, hub_model_id="me/trained", hub_always_push=True,
)
rows = [{"input_ids": [2, 3, 4, 5, 6, 7]}] * 4
trainer = CriticTrainer(copy.deepcopy(other), args, processing_class=tokenizer, train_dataset=rows)
trainer.train()
result["trainer"] = trainer.push_to_hub(commit_message="done").oid
result["state"] = look(work + "/saved", tasks)
result["other"] = generated(CriticGPTForMaskedLM.from_pretrained(work + "/nested/inner"))
"""
)

# In a process of its own, `sys.argv[4]` says whether the package is to be imported.
LOAD = (
    HELPERS
    + """
trust = {"trust_remote_code": True}
if sys.argv[4] == "package":
    import critic_gpt
    trust = {}
from transformers import AutoModelForMaskedLM, pipeline
from model_look import look
load = AutoModelForMaskedLM.from_pretrained
"""
)
PULL = (
    LOAD
    + """
mine = {"token": "writer", **trust}

# Before anything lies in the cache, from where a model is loaded whose files were fetched before.
result = {
    "no token": [refusal(load, "me/whole", **trust), refusal(pipeline, tasks[0], "me/whole", **trust)],
    "wrong token": refusal(load, "me/whole", token="nobodys", **trust),
    "another's token": refusal(load, "me/whole", token="stranger", **trust),
    "no repository": refusal(load, "me/nothing", **trust),
    "no revision": refusal(load, "me/parts", revision="nothing", **trust),
    "no weights": refusal(load, "me/configuration", **trust),
    "no tokenizer": refusal(pipeline, tasks[0], "me/asked", revision="refs/pr/1", **trust),
}
result |= {
    "parts": look("me/parts", tasks, **trust),
    "branch": load("me/parts", revision="other", **trust).fingerprint(),
    "table": load("me/parts", **trust).calibration.metadata.get("measured"),
    "private": look("me/whole", tasks, **mine),
    "sharded": look("me/saved", tasks, model_kwargs={"cache_dir": work + "/cache"}, **mine),
    "nested": load("me/nested", subfolder="inner", **trust).fingerprint(),
    "trained": type(pipeline(tasks[0], "me/trained", **trust).model).__name__,
}
# Saved again from there: complete, though the token is not known any more.
pipeline(tasks[-1], "me/whole", **mine).save_pretrained(work + "/again")
"""
)
OFFLINE = (
    LOAD
    + """
result = {
    "parts": look("me/parts", tasks, **trust),
    "branch": load("me/parts", revision="other", **trust).fingerprint(),
    "sharded": look("me/saved", tasks, model_kwargs={"cache_dir": work + "/cache"}, **trust),
    "never fetched": refusal(load, "me/asked", **trust),
}
"""
)


@pytest.fixture(scope="module")
def hub():
    with LoopbackHub() as running:
        running.faults = {"me/first": ["drop"], "me/drop": [None, "drop"], "me/500": [None, "500"]}
        yield running


@pytest.fixture(scope="module")
def pushed(hub, tmp_path_factory):
    """What the process that pushed has to say."""
    work = tmp_path_factory.mktemp("push")
    environment = {**hub.environment(work / "home"), "HF_TOKEN": "writer"}
    return clean_process.run(PUSH, TESTS, " ".join(TASKS), work, package=True, environment=environment)


@pytest.fixture(scope="module", params=["package", "no package"])
def pulled(hub, pushed, tmp_path_factory, request):
    """What a process that loaded has to say, without a token of its own; and what it was started with."""
    work = tmp_path_factory.mktemp("pull")
    arguments = TESTS, " ".join(TASKS), work, request.param
    package = request.param == "package"
    found = clean_process.run(PULL, *arguments, package=package, environment=hub.environment(work / "home"))
    return found, work, arguments, package


@pytest.fixture
def files(hub, pushed):
    """The files of a revision."""
    return lambda name, revision="main": hub.repositories[name].files(revision)


# ---- up ----


def test_a_model_is_pushed_complete_in_one_commit_and_its_tokenizer_beside_it(hub, pushed, files):
    assert set(files("me/parts")) == MODEL | TOKENIZER
    config = json.loads(files("me/parts")["config.json"])
    assert config["auto_map"] == AUTO_MAP and config["custom_pipelines"] == PIPELINES
    assert pushed["commit"].startswith(f"{hub.url}/me/parts/commit/")
    first = pushed["commit"].rsplit("/", 1)[-1]
    assert set(files("me/parts", first)) == MODEL


def test_a_branch_or_a_pull_request_is_made_and_main_stays_as_it_is(files):
    assert not files("me/asked") and set(files("me/asked", "refs/pr/1")) == MODEL
    assert set(files("me/parts", "other")) == MODEL | TOKENIZER
    assert files("me/parts", "other")["model.safetensors"] != files("me/parts")["model.safetensors"]


def test_a_table_alone_is_merged_into_the_file_that_is_there(files):
    keys = {"model.safetensors", "model.safetensors@trajectory", "__metadata__"}
    main, branch = (json.loads(files("me/parts", name)["calibration.json"]) for name in ("main", "tables"))
    assert main["__metadata__"]["entries"]["model.safetensors"]["measured"] == "later"
    assert set(branch) == keys | {"model.ema.safetensors"}
    # Overtaken by somebody else, whose table is kept.
    assert set(main) == keys | {"model.theirs.safetensors"}


def test_a_table_that_was_overtaken_is_refused(pushed):
    *classes, text = pushed["overtaken"]
    assert "HfHubHTTPError" in classes and "412" in text and "A commit has happened since" in text


def test_a_pipeline_is_pushed_complete(hub, files):
    assert set(files("me/whole")) == MODEL | TOKENIZER
    assert hub.repositories["me/whole"].private


def test_saving_with_a_push_uploads_what_was_saved(hub, files):
    shards = {name for name in files("me/saved") if name.startswith("model-")}
    assert len(shards) > 1
    expected = MODEL - {"model.safetensors"} | TOKENIZER | shards | {"model.safetensors.index.json"}
    assert set(files("me/saved")) == expected
    assert hub.repositories["me/saved"].private
    assert len(hub.repositories["me/saved"].commits) == 3  # made, the model with its table, the tokenizer


def test_the_trainer_pushes_complete_folders_at_every_save_and_at_the_end(hub, pushed):
    repository = hub.repositories["me/trained"]
    assert repository.branches["main"] == pushed["trainer"]
    states = [files for files in repository.commits.values() if files]
    assert len(states) >= 2
    for state in states:
        # The tables were of other weights.
        assert set(state) >= MODEL - {"calibration.json", "README.md"} | TOKENIZER
        assert json.loads(state["config.json"])["auto_map"] == AUTO_MAP
    assert b"written by critic_gpt" in states[-1]["README.md"]  # not the card of the stock Trainer


@pytest.mark.parametrize(
    ("who", "status", "reason"),
    [
        ("wrong token", "401", "Invalid credentials"),
        ("save, wrong token", "401", "Invalid credentials"),
        ("no token", "401", "Invalid username or password"),
        ("read token", "403", "Make sure your token has the correct permissions"),
        ("another's token", "403", "Make sure your token has the correct permissions"),
        ("table, read token", "403", "Make sure your token has the correct permissions"),
    ],
)
def test_who_may_not_write_is_told_so_by_the_hub(hub, pushed, who, status, reason):
    *classes, text = pushed["refused"][who]
    assert {"HfHubHTTPError", "OSError"} <= set(classes) and status in text and reason in text
    assert "me/new" not in hub.repositories and "me/refused" not in hub.repositories
    assert not pushed["written"]  # refused before the work of saving


@pytest.mark.parametrize(("fault", "error"), [("drop", "RemoteProtocolError"), ("500", "HfHubHTTPError")])
def test_an_upload_that_breaks_off_changes_nothing_and_can_be_repeated(pushed, fault, error):
    (*classes, _), after, repeated = pushed[fault]
    assert error in classes
    assert [after, repeated] == pushed["fingerprints"]


def test_a_first_upload_that_breaks_off_leaves_nothing_that_could_be_taken_for_a_model(pushed, files):
    push, load = pushed["first"]
    assert "RemoteProtocolError" in push and not files("me/first")
    assert "OSError" in load and "`config.json` must describe a model, got none in 'me/first'" in load[-1]


# ---- down ----


def test_a_model_does_after_the_way_over_the_hub_what_it_did_before(pushed, pulled):
    found, *_ = pulled
    whole = pushed["state"]
    assert found["parts"] == whole and whole["tables"] == [[0.0, 0.0, 0.0], [1.0, 0.99, 0.98]]
    assert found["private"] == whole  # by a token that is passed
    assert found["sharded"] == whole  # and kept in a cache of its own
    assert found["branch"] == pushed["fingerprints"][1]
    assert found["nested"] == pushed["fingerprints"][1]
    assert found["table"] == "later"
    assert found["trained"] == "CriticGPTForMaskedLM"
    assert pushed["other"] != whole["generated"]


def test_a_cache_of_its_own_holds_all_that_was_asked_to_go_there(pulled):
    _, work, *_ = pulled
    # Transformers itself looks for adapters, and for a pipeline's file, in the usual place.
    for name, found in (("cache", True), ("home/hub", False)):
        names = {path.name for path in (work / name / "models--me--saved").rglob("*")}
        assert ("calibration.json" in names) is ("model.safetensors.index.json" in names) is found


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("wrong token", "Invalid credentials"),
        ("another's token", "is not a valid model identifier"),
        ("no repository", "is not a valid model identifier"),
        ("no revision", "is not a valid git identifier"),
        ("no weights", "does not appear to have a file named"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_that_says_why(pulled, what, reason):
    *classes, text = pulled[0][what]
    assert "OSError" in classes and reason in text


def test_a_private_model_is_found_by_its_token_alone(pulled):
    for *classes, text in pulled[0]["no token"]:
        assert "OSError" in classes and "pass a token having permission" in text
    assert "ValueError" in pulled[0]["no tokenizer"], "a pipeline of a model without its tokenizer is refused"


def test_what_is_saved_from_there_is_complete_again(pulled):
    _, work, *_ = pulled
    assert {path.name for path in (work / "again").iterdir()} == MODEL - {"README.md"} | TOKENIZER
    config = json.loads((work / "again" / "config.json").read_text())
    assert config["auto_map"] == AUTO_MAP and config["custom_pipelines"] == PIPELINES


def test_what_was_fetched_works_offline(hub, pushed, pulled):
    _, work, arguments, package = pulled
    before = len(hub.requests)
    environment = {**hub.environment(work / "home"), "HF_HUB_OFFLINE": "1"}
    found = clean_process.run(OFFLINE, *arguments, package=package, environment=environment)
    assert len(hub.requests) == before
    assert found["parts"] == found["sharded"] == pushed["state"]
    assert found["branch"] == pushed["fingerprints"][1]
    assert "OSError" in found["never fetched"]
