"""Claims about the tasks, the freezing and the data of `scripts/train.py`."""

import json
import math

import pytest
import torch
from datasets import DatasetDict
from labelled_folder import LENGTH, make_folder
from prepared_folders import as_flags
from sentences import one_sentence
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from critic_gpt import (
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticTrainer,
    CriticTrainingArguments,
)
from critic_gpt.evaluation import auroc
from critic_gpt.scripts import prepare_data, train
from critic_gpt.tasks import load_prepared


SHAPE = as_flags(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.2)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("labelled"))


def run(data_dir, output_dir, *more, shape=SHAPE, steps=3):
    fixed = {"use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 16, "save_strategy": "no"}
    fixed |= {"lr_scheduler_type": "constant", "max_steps": steps, "data_dir": data_dir, "output_dir": output_dir}
    return train.main([*as_flags(**fixed), *shape, *more])


def weights_before(data_dir, output_dir, *more, **kwargs):
    """The weights that a run begins with: those it saves after a step of no size."""
    run(data_dir, output_dir, *more, "--learning_rate", "0", "--weight_decay", "0", **{**kwargs, "steps": 1})
    return weights_of(output_dir)


def weights_of(folder):
    classes = CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    return {cls.__name__: cls for cls in classes}[name].from_pretrained(folder).state_dict()


# ---- tasks ----

TOKENS = ("token_classification", AutoModelForTokenClassification, CriticGPTForTokenClassification)
SEQUENCES = ("sequence_scoring", AutoModelForSequenceClassification, CriticGPTForSequenceClassification)
RUNS = {
    "hard": (TOKENS, [], 2, {"accuracy": 0.9, "balanced_accuracy": 0.9, "auroc": 0.95}),
    "balanced": (TOKENS, ["--balanced_class_weights", "True"], 2, {"balanced_accuracy": 0.9, "auroc": 0.95}),
    "soft": (TOKENS, [], 2, {"accuracy": 0.9, "auroc": 0.95}),
    "scores": (SEQUENCES, [], 1, {"pearson": 0.7}),
    "classes": (SEQUENCES, ["--num_labels", "3"], 3, {"accuracy": 0.45}),
}


@pytest.mark.parametrize("kind", RUNS)
def test_each_task_learns_moves_every_weight_and_reloads_by_its_auto_class(tmp_path, kind):
    (task, auto_class, cls), more, num_labels, least = RUNS[kind]
    data_dir = make_folder(tmp_path / "data", labels="soft" if kind == "soft" else "hard")
    more = ["--task", task, *more]
    before = weights_before(data_dir, tmp_path / "before", *more)
    first = json.loads((tmp_path / "before" / "training_metrics.json").read_text())
    metrics = run(data_dir, tmp_path / "model", *more, "--learning_rate", "1e-2", steps=60)
    after = weights_of(tmp_path / "model")
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert metrics["eval_loss"] < first["eval_loss"]
    for name, value in least.items():
        assert metrics[f"eval_{name}"] > value
    if kind == "scores":
        assert metrics["eval_loss"] == metrics["eval_mse"] < 0.03 and metrics["eval_mae"] < 0.15
    model = auto_class.from_pretrained(tmp_path / "model")
    assert type(model) is cls and model.num_labels == num_labels
    assert model.config.balanced_class_weights is (kind == "balanced")


@pytest.mark.parametrize("task", ["token_classification", "sequence_scoring"])
def test_the_trunk_of_a_language_model_starts_a_head(data_dir, tmp_path, task):
    run(data_dir, tmp_path / "lm", "--add_critic_head", "True")
    more = ("--task", task, "--model_name_or_path", str(tmp_path / "lm"))
    before = weights_before(data_dir, tmp_path / "before", *more, shape=[])
    trunk = weights_of(tmp_path / "lm")
    for name, tensor in before.items():
        assert not name.startswith("model.") or torch.equal(tensor, trunk[name])
    run(data_dir, tmp_path / "head", *more, "--freeze_trunk", "True", shape=[])
    config = json.loads((tmp_path / "head" / "config.json").read_text())
    assert config["add_critic_head"] is False
    after = weights_of(tmp_path / "head")
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is name.startswith("model."), name
    # And a head goes on from itself.
    more = ("--task", task, "--model_name_or_path", str(tmp_path / "head"))
    again = weights_before(data_dir, tmp_path / "again", *more, shape=[])
    assert all(torch.equal(again[name], tensor) for name, tensor in after.items())


@pytest.mark.slow
def test_fillings_of_a_model_train_a_classifier_and_a_judge_that_weighs_its_loss(data_dir, language_model, tmp_path):
    fillings = str(tmp_path / "fillings")
    prepare_data.main(as_flags(task="fillings", model=language_model, data_dir=data_dir, output_dir=fillings))
    begin = ["--model_name_or_path", str(language_model)]
    metrics = run(fillings, tmp_path / "tokens", "--task", "token_classification", *begin, shape=[])
    assert 0 <= metrics["eval_auroc"] <= 1
    metrics = run(fillings, tmp_path / "judge", "--task", "sequence_scoring", *begin, shape=[])
    assert 0 < metrics["eval_mae"] < 1
    judge = {"modifiers": [{"name": "judge_weight", "model": str(tmp_path / "judge")}]}
    (tmp_path / "judge.json").write_text(json.dumps(judge))
    before = weights_of(tmp_path / "judge")
    run(
        data_dir, tmp_path / "lm", *begin, *as_flags(loss_modifiers=tmp_path / "judge.json", logging_steps=1), shape=[]
    )
    assert 0 < logs_of(tmp_path / "lm")[0]["judge_weight/wrongness"] < 1
    assert weights_of(tmp_path / "lm").keys() == weights_of(language_model).keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in weights_of(tmp_path / "judge").items())


# ---- a critic for a trained model ----


@pytest.fixture(scope="module")
def language_model(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "lm"
    run(data_dir, folder, "--learning_rate", "1e-2", "--position_embedding_type", "absolute", steps=40)
    return folder


@pytest.mark.parametrize("untie", [False, True])
def test_a_trained_model_gets_a_critic_and_keeps_its_logits(data_dir, language_model, tmp_path, untie):
    more = ["--model_name_or_path", str(language_model), "--add_critic_head", "True", "--freeze_trunk", "True"]
    run(data_dir, tmp_path, *more, "--untie", str(untie), "--weight_decay", "0.5", shape=[])
    plain = AutoModelForMaskedLM.from_pretrained(language_model).eval()
    model = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    for parameter in (*plain.parameters(), *model.parameters()):
        parameter.data = parameter.data.clone()  # out of the mapped files, whose layouts differ
    ids = torch.randint(1, 10, (4, LENGTH))
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, model(ids).logits) is not untie
    assert model.has_trained_critic and model.config.tie_word_embeddings is not untie
    old, new = plain.state_dict(), model.state_dict()
    assert {name for name in new if name not in old or not torch.equal(old[name], new[name])} == (
        {"critic_head.weight", "lm_head.weight"} if untie else {"critic_head.weight"}
    )


def test_the_trunk_joins_in_after_some_steps(data_dir, language_model, tmp_path):
    more = as_flags(model_name_or_path=language_model, add_critic_head=True, freeze_trunk=True, unfreeze_step=2)
    more += as_flags(unfreeze_lr_multiplier=0.5, save_strategy="steps", save_steps=2)
    run(data_dir, tmp_path / "out", *more, shape=[], steps=3)
    old = weights_of(language_model)
    for folder, is_frozen in ((tmp_path / "out" / "checkpoint-2", True), (tmp_path / "out", False)):
        new = weights_of(folder)
        assert all(torch.equal(old[name], new[name]) for name in old) is is_frozen


@pytest.mark.slow
def test_a_critic_on_a_frozen_trunk_tells_right_from_wrong(tmp_path):
    # Sequences that count upwards: what is wrong can be seen from the neighbours.
    def count(row):
        return {"input_ids": [2 + (row["input_ids"][0] + i) % 8 for i in range(LENGTH)]}

    data_dir = make_folder(tmp_path / "data", num=512, change=count)
    shape = as_flags(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    rate = as_flags(learning_rate=5e-3, per_device_train_batch_size=32)
    run(data_dir, tmp_path / "lm", *rate, shape=shape, steps=300)
    more = as_flags(model_name_or_path=tmp_path / "lm", add_critic_head=True, freeze_trunk=True)
    run(data_dir, tmp_path / "critic", *more, *rate, "--learning_rate", "5e-2", shape=[], steps=300)
    model = CriticGPTForMaskedLM.from_pretrained(tmp_path / "critic")
    splits, tokenizer, _ = load_prepared(data_dir)
    args = CriticTrainingArguments(str(tmp_path / "judge"), use_cpu=True, per_device_eval_batch_size=512)
    (batch,) = CriticTrainer(model, args, processing_class=tokenizer).get_eval_dataloader(splits["train"])
    with torch.no_grad():
        outputs = model.eval()(**batch)
    valid = outputs.critic_valid
    assert auroc(outputs.critic_input_logits[valid], outputs.critic_target[valid]) > 0.6


# ---- losses and data ----


def logs_of(folder):
    return [log for log in json.loads((folder / "trainer_state.json").read_text())["log_history"] if "loss" in log]


def test_a_file_of_modifiers_modifies_the_training_loss_alone(data_dir, tmp_path):
    (tmp_path / "lm.yaml").write_text("modifiers:\n- name: mask_ratio_weight\n- name: entropy\n")
    (tmp_path / "scores.json").write_text(json.dumps({"modifiers": [{"name": "sequence_variance", "scale": 2.0}]}))
    runs = {"lm": ([], "entropy/"), "scores": (["--task", "sequence_scoring"], "sequence_variance/")}
    for name, (task, figure) in runs.items():
        path = next(path for path in tmp_path.glob(f"{name}.*") if path.is_file())
        more = [*task, "--logging_steps", "1", "--learning_rate", "0", "--weight_decay", "0"]
        folders = tmp_path / f"{name}_plain", tmp_path / f"{name}_modified"
        plain = run(data_dir, folders[0], *more)
        modified = run(data_dir, folders[1], *more, "--loss_modifiers", str(path))
        assert plain["eval_loss"] == modified["eval_loss"]
        plain, modified = map(logs_of, folders)
        unmodified = {"lm": "lm_loss", "scores": "mse"}[name]
        for one, other in zip(plain, modified, strict=True):
            assert other[unmodified] == pytest.approx(one["loss"], abs=1e-5)
        assert any(one["loss"] != other["loss"] for one, other in zip(plain, modified, strict=True))
        assert any(key.startswith(figure) for key in modified[0])


@pytest.mark.parametrize("masking", ["bert", "random", "span", "sticky", "file"])
def test_training_masks_as_it_is_told(data_dir, tmp_path, masking):
    if masking == "file":
        mix = [{"strategy": "sticky", "share": 0.5}, {"strategy": "diffusion", "share": 0.5}]
        (tmp_path / "masking.json").write_text(json.dumps({"stages": [{"mix": mix}]}))
        masking = str(tmp_path / "masking.json")
    more = as_flags(add_critic_head=True, logging_steps=1)
    plain = run(data_dir, tmp_path / "plain", *more)
    metrics = run(data_dir, tmp_path / "other", *more, "--masking", masking)
    assert logs_of(tmp_path / "other")[0]["lm_loss"] != logs_of(tmp_path / "plain")[0]["lm_loss"]
    assert metrics["eval_lm_loss"] > 0 and metrics.keys() == plain.keys()


@pytest.mark.parametrize("task", ["language_model", "token_classification"])
def test_a_folder_is_read_as_a_stream_past_its_end(tmp_path, task):
    data_dir = make_folder(tmp_path / "data", num=24)
    more = ["--task", task, "--streaming", "True", "--save_strategy", "steps", "--save_steps", "2"]
    metrics = run(data_dir, tmp_path / "whole", *more, steps=4)
    assert metrics["eval_loss"] > 0
    more += ["--resume_from_checkpoint", str(tmp_path / "whole" / "checkpoint-2")]
    assert run(data_dir, tmp_path / "resumed", *more, steps=4)["eval_loss"] == metrics["eval_loss"]
    whole, resumed = weights_of(tmp_path / "whole"), weights_of(tmp_path / "resumed")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("more", [(), ("--streaming", "True")])
@pytest.mark.parametrize("task", ["language_model", "token_classification", "sequence_scoring"])
def test_a_saved_dataset_and_its_tokenizer_are_enough_for_every_task(data_dir, tmp_path, task, more):
    prepared = run(data_dir, tmp_path / "prepared", "--task", task, *more)
    own = tmp_path / "own"
    splits, tokenizer, _ = load_prepared(data_dir)
    del splits["test"]
    splits.save_to_disk(str(own))
    tokenizer.save_pretrained(str(own))
    assert run(own, tmp_path / "out", "--task", task, *more)["eval_loss"] == prepared["eval_loss"]


def test_without_a_validation_split_nothing_is_measured(data_dir, tmp_path):
    splits, tokenizer, _ = load_prepared(data_dir)
    DatasetDict({"train": splits["train"]}).save_to_disk(str(tmp_path / "own"))
    tokenizer.save_pretrained(str(tmp_path / "own"))
    assert not any(name.startswith("eval_") for name in run(tmp_path / "own", tmp_path / "out", steps=1))


# ---- errors ----


def refusal(data_dir, output_dir, *more, shape=SHAPE):
    with one_sentence("must", "got") as error:
        run(data_dir, output_dir, "--precision", "fp32", *more, shape=shape)
    assert not output_dir.exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (("--task", "poetry"), "task"),
        (("--task", "token_classification", "--add_critic_head", "True"), "add_critic_head"),
        (("--task", "sequence_scoring", "--correction_alpha", "0"), "correction_alpha"),
        (("--task", "sequence_scoring", "--balanced_class_weights", "True"), "balanced_class_weights"),
        (("--num_labels", "2"), "num_labels"),
        (("--task", "token_classification", "--num_labels", "1"), "num_labels"),
        (("--task", "token_classification", "--freeze_trunk", "True", "--untie", "True"), "untie"),
        (("--task", "token_classification", "--loss_modifiers", "x.yaml"), "loss_modifiers"),
        (("--task", "token_classification", "--min_mask_rate", "0.5"), "min_mask_rate"),
        (("--untie", "True"), "untie"),
        (("--unfreeze_step", "3"), "unfreeze_step"),
        (("--freeze_trunk", "True", "--unfreeze_lr_multiplier", "0.5"), "unfreeze_lr_multiplier"),
        (("--unfreeze_lr_multiplier", "0"), "unfreeze_lr_multiplier"),
        (("--freeze_trunk", "True"), "freeze_trunk"),
        (("--streaming", "True", "--max_steps", "-1"), "max_steps"),
        (("--task", "sequence_scoring", "--num_labels", "3", "--loss_modifiers", "x.yaml"), "loss_modifiers"),
        (("--task", "sequence_scoring", "--loss_modifiers", "missing.yaml"), "loss_modifiers"),
        (("--freeze_trunk", "True", "--add_critic_head", "True", "--loss_modifiers", "x.yaml"), "loss_modifiers"),
        (("--masking", "brt"), "masking"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(data_dir, tmp_path, more, field):
    assert refusal(data_dir, tmp_path / "out", *more).startswith(f"`{field}` must")


@pytest.mark.parametrize(
    ("task", "drop", "wanted"),
    [
        ("token_classification", "labels", "without the column `labels`: make such data with"),
        ("sequence_scoring", "score", "without the column `score` or `label`: make such data with"),
    ],
)
def test_a_folder_without_the_labels_of_the_task_is_refused(tmp_path, task, drop, wanted):
    def change(row):
        return {name: value for name, value in row.items() if name != drop}

    data_dir = make_folder(tmp_path / "data", columns=("score",), change=change)
    assert wanted in refusal(data_dir, tmp_path / "out", "--task", task)


@pytest.mark.parametrize(
    ("task", "change", "parts"),
    [
        ("token_classification", {"labels": [-2] * LENGTH}, ("`labels`", "got -2 to -2", "-100 to ignore")),
        ("token_classification", {"labels": [0.5] * LENGTH}, ("`labels`", "got double")),
        ("token_classification", {"labels": [[0.5, 1.5]] * LENGTH}, ("`labels`", "got 0.5 to 1.5")),
        ("token_classification", {"labels": [0] * LENGTH}, ("`num_labels`", "got 1")),
        ("sequence_scoring", {"score": 1.25}, ("`score`", "got 1.25 to 1.25")),
        ("sequence_scoring", {"score": math.nan}, ("`score`", "got missing ones")),
        ("token_classification", {"labels": None}, ("`labels`", "got some without")),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(tmp_path, task, change, parts):
    data_dir = make_folder(tmp_path / "data", num=4, change=lambda row: {**row, **change})
    text = refusal(data_dir, tmp_path / "out", "--task", task)
    assert all(part in text for part in parts), text


def test_balanced_weights_and_probabilities_are_refused(tmp_path):
    data_dir = make_folder(tmp_path / "data", num=4, labels="soft")
    more = as_flags(task="token_classification", balanced_class_weights=True)
    assert refusal(data_dir, tmp_path / "out", *more).startswith("`balanced_class_weights` must be False")


def test_a_classifier_of_another_number_of_labels_or_as_a_language_model_is_refused(data_dir, tmp_path):
    run(data_dir, tmp_path / "three", "--task", "token_classification", "--num_labels", "3", steps=1)
    begin = ("--model_name_or_path", str(tmp_path / "three"))
    more = ("--task", "token_classification", "--num_labels", "2", *begin)
    assert "`num_labels` must be the 3" in refusal(data_dir, tmp_path / "out", *more, shape=[])
    assert "CriticGPTForTokenClassification" in refusal(data_dir, tmp_path / "out", *begin, shape=[])


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize("task", ["language_model", "sequence_scoring"])
def test_a_base_that_is_missing_or_not_ours_is_refused(data_dir, tmp_path, task, precision):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    # A language model of somebody else's may be given a critic, and needs one.
    others = "`add_critic_head` must be True for a model that is not CriticGPT"
    others = others if task == "language_model" else "`model_name_or_path` must be a critic_gpt model, got"
    for name, words in (("other", others), ("none", "`model_name_or_path` must be the folder or hub name of")):
        more = ("--task", task, "--model_name_or_path", str(tmp_path / name), "--precision", precision)
        assert refusal(data_dir, tmp_path / "out", *more, shape=[]).startswith(words)
