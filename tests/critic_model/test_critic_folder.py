# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A critic's folder: what is in it, how it finds its model again, and what it refuses."""

import json
import os
import shutil

import pytest
import torch
from huggingface_hub import constants
from killing import Killed, killed_after
from safetensors.torch import load_file, save_file
from tiny_masked_lms import WORDS, framed_tokenizer, tiny_masked_lm
from transformers import AutoModelForMaskedLM, AutoTokenizer, RobertaForMaskedLM, pipeline

from critic_gpt import (
    AutoModelForMaskedLMWithCritic,
    CriticConfig,
    CriticTrainer,
    CriticTrainingArguments,
    get_critic_model,
)
from critic_gpt.critic_model.any_masked_lm import critic_class
from critic_gpt.training.checkpoints import staged_folder


TOKENIZER = framed_tokenizer()
ROWS = [
    {"input_ids": TOKENIZER(" ".join(WORDS[(start + place) % 27] for place in range(8)))["input_ids"]}
    for start in range(20)
]
INPUTS = dict(TOKENIZER("w1 w2 [MASK] [MASK] w5", return_tensors="pt"))


def arguments(folder, **others):
    settings = {"max_steps": 8, "learning_rate": 1e-2, "save_strategy": "no", **others}
    return CriticTrainingArguments(str(folder), report_to=[], use_cpu=True, disable_tqdm=True, **settings)


def with_critic(base, **fields):
    stock = AutoModelForMaskedLM.from_pretrained(base)
    return get_critic_model(stock, CriticConfig(**fields), tokenizer=AutoTokenizer.from_pretrained(base))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_masked_lm("roberta").save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    model = with_critic(base)
    CriticTrainer(
        model, arguments(tmp_path_factory.mktemp("run")), train_dataset=ROWS, processing_class=TOKENIZER
    ).train()
    model.calibrate(ROWS)
    return model.eval()


@pytest.fixture
def folder(trained, tmp_path):
    trained.save_pretrained(tmp_path / "critic")
    return tmp_path / "critic"


def test_a_frozen_model_is_named_and_not_copied(folder):
    names = {path.name for path in folder.iterdir() if path.suffix != ".py"}
    assert names == {
        *(
            "critic_config.json",
            "critic_head.safetensors",
            "calibration.json",
            "generation_config.json",
            "config.json",
        ),
        *("README.md", "tokenizer.json", "tokenizer_config.json"),
    }
    assert sum((folder / name).stat().st_size for name in names) < 30_000


def test_it_loads_with_equal_numbers_and_its_table(trained, folder):
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(folder)
    own, its = trained(**INPUTS), loaded(**INPUTS)
    assert torch.equal(own.logits, its.logits) and torch.equal(own.critic_logits, its.critic_logits)
    assert loaded.calibration == trained.calibration
    assert all(not weight.requires_grad for weight in loaded.roberta.parameters())


def test_both_pipelines_take_it_by_name(folder):
    result = pipeline("critic-diffusion", model=str(folder))("w1 w2 [MASK] [MASK] w5", num_steps=2, seed=0)
    assert len(result["tokens"]) == 5 and result["expected_errors"] is not None
    assert pipeline("critic-proofread", model=str(folder))("w1 w2 w3")["calibrated"]


def test_it_is_saved_again_from_where_it_was_loaded(folder, tmp_path):
    AutoModelForMaskedLMWithCritic.from_pretrained(folder).save_pretrained(tmp_path / "again")
    for name in ("critic_config.json", "critic_head.safetensors", "calibration.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_other_weights_under_it_are_refused_and_the_right_ones_elsewhere_are_taken(base, trained, folder, tmp_path):
    other = tmp_path / "other"
    tiny_masked_lm("roberta", seed=1).save_pretrained(other)
    with pytest.raises(ValueError, match=r"got other weights in .*pass `base_model=`"):
        AutoModelForMaskedLMWithCritic.from_pretrained(folder, base_model=other)
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    for named in (moved, AutoModelForMaskedLM.from_pretrained(moved)):
        model = AutoModelForMaskedLMWithCritic.from_pretrained(folder, base_model=named)
        assert torch.equal(model(**INPUTS).critic_logits, trained(**INPUTS).critic_logits)


def test_a_model_that_is_gone_is_asked_for(folder):
    content = json.loads((folder / "critic_config.json").read_text())
    content["base_model_name_or_path"] = str(folder / "gone")
    (folder / "critic_config.json").write_text(json.dumps(content))
    tasks = (lambda name, task=task: pipeline(task, model=name) for task in ("critic-diffusion", "critic-proofread"))
    for load in (AutoModelForMaskedLMWithCritic.from_pretrained, *tasks):
        with pytest.raises(ValueError, match=r"^`base_model` must be the model that.*pass `base_model=`.*$") as found:
            load(str(folder))
        assert len(str(found.value).splitlines()) == 1  # and not between the lines of a traceback


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_head_that_can_say_nothing_is_refused_as_it_is_loaded(base, folder, tmp_path, broken):
    head = load_file(folder / "critic_head.safetensors")
    head = {name: torch.full_like(weight, broken) for name, weight in head.items()}
    save_file(head, folder / "critic_head.safetensors")
    whole = with_critic(base, freeze=False)
    with torch.no_grad():
        next(whole.critic_head.parameters()).view(-1)[0] = broken
    whole.save_pretrained(tmp_path / "whole")
    for path in (folder, tmp_path / "whole"):
        with pytest.raises(ValueError, match=r"^`critic_head\..*` must be finite numbers in .*, got NaN or infinity"):
            AutoModelForMaskedLMWithCritic.from_pretrained(path)


def test_a_folder_without_its_tokenizer_is_refused_by_a_pipeline(base, tmp_path):
    with_critic(base, freeze=False).save_pretrained(tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"^`tokenizer` must be the one the model was trained with"):
        pipeline("critic-diffusion", model=str(tmp_path))


def test_a_head_of_another_width_is_refused(folder):
    head = load_file(folder / "critic_head.safetensors")
    head["states.weight"] = torch.zeros(16, 31)
    save_file(head, folder / "critic_head.safetensors")
    with pytest.raises(ValueError, match=r"`critic_head.safetensors` must hold the 'odds' head"):
        AutoModelForMaskedLMWithCritic.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("backbone", 3), ("critic", []), ("format_version", 99), ("special_ids", None)],
        *[("base_model_name_or_path", 1), ("revision", 3), ("fingerprints", [1]), ("fingerprints", "x")],
    ],
)
def test_a_damaged_description_is_one_sentence(folder, name, value):
    content = json.loads((folder / "critic_config.json").read_text())
    (folder / "critic_config.json").write_text(json.dumps({**content, name: value}))
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        AutoModelForMaskedLMWithCritic.from_pretrained(folder)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("special_ids", "mask_token_id", None),
        ("special_ids", "mask_token_id", 4000),
        ("special_ids", "suppressed_token_ids", "x"),
        ("backbone", "prefix_ids", None),
        ("backbone", "prefix_ids", [4000]),
        ("backbone", "max_sequence_length", 2),
        ("backbone", "takes_attention_mask", "no"),
    ],
)
def test_a_description_that_no_model_can_have_is_one_sentence(folder, part, name, value):
    content = json.loads((folder / "critic_config.json").read_text())
    content[part][name] = value
    (folder / "critic_config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"`{name}`.*: (mend|save)"):
        AutoModelForMaskedLMWithCritic.from_pretrained(folder)


class LouderRoberta(RobertaForMaskedLM):
    """A class of a user's own, which computes other numbers from the same weights."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output


def test_the_numbers_of_a_class_of_ones_own_are_never_taken_for_those_of_its_weights(base, tmp_path):
    for freeze, field in ((True, "base_model"), (False, "architectures")):
        stock = LouderRoberta.from_pretrained(base)
        model = get_critic_model(stock, CriticConfig(freeze=freeze), tokenizer=TOKENIZER).eval()
        model.save_pretrained(tmp_path / field)
        with pytest.raises(ValueError, match=rf"`{field}` must .*LouderRoberta.* by"):
            AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / field)
    loaded = [
        AutoModelForMaskedLMWithCritic.from_pretrained(
            tmp_path / "base_model", base_model=LouderRoberta.from_pretrained(base)
        ),
        critic_class(LouderRoberta).from_pretrained(tmp_path / "architectures"),
    ]
    assert all(torch.equal(one.eval()(**INPUTS).logits, model(**INPUTS).logits) for one in loaded)


def test_a_model_that_its_name_alone_does_not_load_is_saved_whole(base, tmp_path):
    AutoModelForMaskedLM.from_pretrained(base).save_pretrained(tmp_path / "named", variant="half")
    shutil.copytree(base, tmp_path / "outer" / "inner")
    for name, how in (("named", {"variant": "half"}), ("outer", {"subfolder": "inner"})):
        stock = AutoModelForMaskedLM.from_pretrained(tmp_path / name, **how)
        model = get_critic_model(stock, tokenizer=TOKENIZER).eval()
        model.save_pretrained(tmp_path / f"{name}-critic")
        loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / f"{name}-critic")
        assert torch.equal(loaded(**INPUTS).logits, model(**INPUTS).logits)


def test_a_base_that_can_have_no_critic_is_refused_and_left_as_it_was(base, folder, trained):
    for other in (trained, AutoModelForMaskedLM.from_pretrained(base).to("meta"), 3):
        before = type(other)
        with pytest.raises(ValueError, match="`base_model` must "):
            AutoModelForMaskedLMWithCritic.from_pretrained(folder, base_model=other)
        assert type(other) is before


def test_what_was_found_while_loading_is_told_where_it_is_asked_for(base, folder, tmp_path):
    with_critic(base, freeze=False).save_pretrained(tmp_path / "whole")
    for place in (folder, tmp_path / "whole"):
        model, info = AutoModelForMaskedLMWithCritic.from_pretrained(place, output_loading_info=True)
        assert hasattr(model, "critic_scores") and not info["missing_keys"]


def test_a_model_without_a_critic_is_refused(base):
    with pytest.raises(ValueError, match=r"must be a model with a critic.*get_critic_model"):
        AutoModelForMaskedLMWithCritic.from_pretrained(base)


def test_a_model_that_has_no_name_or_was_changed_is_saved_whole(base, tmp_path):
    nameless = get_critic_model(tiny_masked_lm("bert"), tokenizer=TOKENIZER)
    changed = with_critic(base)
    with torch.no_grad():
        changed.roberta.embeddings.word_embeddings.weight[7] += 1.0
    for number, model in enumerate((nameless, changed, with_critic(base, freeze=False))):
        model.save_pretrained(tmp_path / str(number))
        assert (tmp_path / str(number) / "model.safetensors").is_file()
        assert not (tmp_path / str(number) / "critic_config.json").exists()
        loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / str(number))
        assert torch.equal(loaded(**INPUTS).logits, model.eval()(**INPUTS).logits)


@pytest.mark.parametrize("adapted", [False, True])
def test_a_training_of_a_critic_alone_goes_on_from_its_checkpoint(base, tmp_path, adapted):
    def train(folder, steps, resume=None):
        model = with_critic(base)
        if adapted:
            peft = pytest.importorskip("peft")
            torch.manual_seed(0)
            model.add_adapter(peft.LoraConfig(r=2, target_modules=["query"], lora_dropout=0.0))
        settings = arguments(folder, max_steps=8, save_strategy="steps", save_steps=4, lr_scheduler_type="constant")
        trainer = CriticTrainer(model, settings, train_dataset=ROWS, processing_class=TOKENIZER)
        trainer.train(resume_from_checkpoint=resume)
        return model

    whole = train(tmp_path / "run", 8)
    shutil.rmtree(tmp_path / "run" / "checkpoint-8")
    resumed = train(tmp_path / "run", 8, resume=str(tmp_path / "run" / "checkpoint-4"))
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert not list((tmp_path / "run" / "checkpoint-4").glob("model*.safetensors"))


@pytest.mark.parametrize("freeze", [True, False])
def test_an_adapter_lies_beside_its_critic_and_both_learn(base, tmp_path, freeze):
    peft = pytest.importorskip("peft")
    model = with_critic(base, freeze=freeze)
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query", "value"], lora_dropout=0.0))
    CriticTrainer(model, arguments(tmp_path / "run"), train_dataset=ROWS, processing_class=TOKENIZER).train()
    model.eval().save_pretrained(tmp_path / "critic")
    assert {"adapter_model.safetensors", "critic_head.safetensors"} <= set(os.listdir(tmp_path / "critic"))
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "critic")
    assert torch.equal(loaded(**INPUTS).logits, model(**INPUTS).logits)
    assert torch.equal(loaded(**INPUTS).critic_logits, model(**INPUTS).critic_logits) and loaded.has_trained_critic
    changed = [name for name, weight in loaded.named_parameters() if "lora_B" in name and bool(weight.any())]
    assert changed


def test_a_critic_of_a_model_on_the_hub_keeps_to_the_commit_it_came_from(base, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--me--base"
    (repository / "refs").mkdir(parents=True)

    def commit(sha, source):
        shutil.copytree(source, repository / "snapshots" / sha)
        (repository / "refs" / "main").write_text(sha)

    commit("a" * 40, base)
    with_critic("me/base").save_pretrained(tmp_path / "critic")
    tiny_masked_lm("roberta", seed=1).save_pretrained(tmp_path / "newer")
    TOKENIZER.save_pretrained(tmp_path / "newer")
    commit("b" * 40, tmp_path / "newer")
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "critic")
    assert torch.equal(loaded(**INPUTS).logits, with_critic(base).eval()(**INPUTS).logits)
    older = AutoModelForMaskedLM.from_pretrained("me/base", revision="a" * 40)
    for model, sha in ((with_critic("me/base"), "b"), (get_critic_model(older, tokenizer=TOKENIZER), "a")):
        assert model.base_revision == sha * 40
    loaded.save_pretrained(tmp_path / "again")
    for name in ("critic_config.json", "critic_head.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "critic" / name).read_bytes()


def test_an_adapter_on_what_no_name_loads_is_not_saved_without_it(tmp_path):
    peft = pytest.importorskip("peft")
    model = get_critic_model(tiny_masked_lm("bert"), tokenizer=TOKENIZER)
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query"]))
    with pytest.raises(ValueError, match="under an adapter must be one that its name alone loads"):
        model.save_pretrained(tmp_path)


@pytest.mark.parametrize("moves", [0, 2, 3, 4, 5, 6])
def test_a_critic_saved_over_another_one_is_the_old_or_the_new_whatever_kills_it(
    base, folder, trained, monkeypatch, moves
):
    other = with_critic(base, critic_head_type="mlp").eval()
    with torch.no_grad():
        for weight in other.critic_head.parameters():
            weight.normal_()
    expected = [model.critic_scores(**INPUTS) for model in (trained, other)]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", killed_after(moves))
        other.save_pretrained(folder)
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(folder).eval()
    assert any(torch.equal(loaded.critic_scores(**INPUTS), scores) for scores in expected)
    other.save_pretrained(folder)
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(folder).eval()
    assert torch.equal(loaded.critic_scores(**INPUTS), expected[1])
    assert not [path for path in folder.iterdir() if path.name.startswith((".", "_"))]


def test_a_critic_saved_beside_its_own_model_leaves_the_weights_where_they_are(base, tmp_path):
    place = tmp_path / "base"
    shutil.copytree(base, place)
    model = with_critic(place)
    model.save_pretrained(place)
    assert (place / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(place)
    assert torch.equal(loaded(**INPUTS).logits, model.eval()(**INPUTS).logits)


def test_a_whole_model_that_is_moved_over_a_critic_takes_its_place(base, folder):
    whole = with_critic(base, freeze=False).eval()
    with staged_folder(folder) as staging:
        whole.save_pretrained(staging)
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(folder)
    assert not loaded.config.critic_freeze and not (folder / "critic_config.json").exists()


def test_a_model_that_was_resized_or_changed_since_it_was_loaded_is_saved_whole(base, tmp_path):
    def resized(model):
        model.resize_token_embeddings(64)

    def changed(model):
        model.get_input_embeddings().weight.data[0] += 1.0

    def untied(model):
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.detach().clone() * 2)
        model.config.tie_word_embeddings = False

    cases = [(resized, {}), (changed, {}), (untied, {}), (lambda model: None, {"num_hidden_layers": 1})]
    for number, (change, fields) in enumerate(cases):
        stock = AutoModelForMaskedLM.from_pretrained(base, **fields)
        change(stock)
        model = get_critic_model(stock, tokenizer=TOKENIZER).eval()
        model.save_pretrained(tmp_path / str(number))
        loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / str(number))
        assert torch.equal(loaded(**INPUTS).logits, model(**INPUTS).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_in_another_precision_is_still_the_one_under_its_name(base, tmp_path, dtype):
    stock = AutoModelForMaskedLM.from_pretrained(base).to(dtype)
    get_critic_model(stock, tokenizer=TOKENIZER).save_pretrained(tmp_path)
    assert (tmp_path / "critic_config.json").exists()


def test_a_damaged_head_is_one_sentence(folder):
    file = folder / "critic_head.safetensors"
    for content in (b"", file.read_bytes()[:50]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"`critic_head.safetensors` must be an intact file of weights, got"):
            AutoModelForMaskedLMWithCritic.from_pretrained(folder)


@pytest.mark.parametrize("name", ["pipeline", "AutoTokenizer", "BertForMaskedLM", "nothing"])
def test_only_an_auto_class_of_models_loads_what_is_under_a_critic(folder, name):
    content = json.loads((folder / "critic_config.json").read_text())
    (folder / "critic_config.json").write_text(json.dumps({**content, "auto_class": name}))
    with pytest.raises(ValueError, match="`auto_class` must be one of AutoModelForMaskedLM"):
        AutoModelForMaskedLMWithCritic.from_pretrained(folder)


def test_a_model_without_weights_gets_no_critic(base):
    with pytest.raises(
        ValueError, match="`model` must hold its weights, got a RobertaForMaskedLM with some on the meta"
    ):
        get_critic_model(AutoModelForMaskedLM.from_pretrained(base).to("meta"), tokenizer=TOKENIZER)
