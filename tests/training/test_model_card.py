# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the card of a model: what it says, where that comes from, and what it leaves alone."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from prepared_folders import as_flags, prepare_sudoku
from transformers import pipeline

from critic_gpt import (
    CriticCalibration,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticTrainer,
    CriticTrainingArguments,
)
from critic_gpt.scripts import calibrate, evaluate, train
from critic_gpt.training.measurements import folder_fingerprint, read_measurements
from critic_gpt.training.model_card import refresh_model_card, write_model_card


FIGURES = {"ece": 0.02, "brier": 0.11, "auroc": 0.9}
QUALITY = {"before": {**FIGURES, "ece": 0.0812}, "after": FIGURES, "positions": 1234, "positive_rate": 0.25}
NUMBER = re.compile(r"(?<![\w.])\d+\.\d{3,4}(?![\w.])")


@pytest.fixture
def folder(tmp_path, tiny_model, tokenizer):
    """A calibrated model and its tokenizer."""
    model = tiny_model()
    metadata = {"fingerprint": model.fingerprint(), "quality": QUALITY, "split": "validation", "source": "one_shot"}
    model.calibration = CriticCalibration([0.5] * 100, metadata)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def cell(*by_strategy):
    figure = {"mean": by_strategy[0], "spread": by_strategy[1], "by_seed": [by_strategy[0]]}
    counted = {"mean": 10, "spread": 0.0, "by_seed": [10]}
    return {"figures": {"valid_rate": figure, "num_samples": counted}, "num_steps": 9, "seconds": 3.0}


@pytest.fixture
def report(tmp_path, folder):
    """A report of the kind that scripts/evaluate.py writes."""
    place = tmp_path / "report"
    place.mkdir()
    metrics = {
        "language_model": {"nats_per_token": 0.5649, "bits_per_token": 0.815},
        "calibration": {**FIGURES, "calibrated": True, **{name: QUALITY[name] for name in ("before", "positions")}},
        "comparison": {
            "random": {"9": cell(0.009, 0.002), "36": cell(0.0763, 0.004)},
            "critic": {"9": None, "36": cell(0.9757, 0.004)},
        },
        "settings": {"task": "sudoku", "split": "test", "seeds": [1, 2, 3], "num_samples": 1000, "tuning_seed": None},
    }
    metrics["calibration"]["positive_rate"] = 0.47
    metrics["settings"]["fingerprint"] = folder_fingerprint(folder)
    (place / "metrics.json").write_text(json.dumps(metrics))
    (place / "reliability.png").write_bytes(b"picture")
    return place


def make_trainer(folder, model, tokenizer, **arguments):
    generator = torch.Generator().manual_seed(0)
    rows = [{"input_ids": row.tolist()} for row in torch.randint(2, 32, (8, 12), generator=generator)]
    quiet = {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "max_steps": 1}
    args = CriticTrainingArguments(str(folder), **{**quiet, "per_device_train_batch_size": 4, **arguments})
    return CriticTrainer(model, args, processing_class=tokenizer, train_dataset=rows, eval_dataset=rows[:4])


# ---- what it says ----


def test_the_usage_in_the_card_runs(folder):
    card = ModelCard.load(write_model_card(folder, repo_id=str(folder)))
    blocks = re.findall(r"```python\n(.+?)```", card.text, flags=re.DOTALL)
    assert len(blocks) == 2 and all(len(block.strip().splitlines()) <= 10 for block in blocks)
    assert "trust_remote_code=True" in blocks[1] and "critic_gpt" not in blocks[1].replace(str(folder), "")
    for block in blocks:
        exec(block, {"print": lambda *values: None})
    # And the hub's task is one whose pipeline runs.
    assert len(pipeline(card.data.pipeline_tag, model=str(folder))("ab[MASK]d")) == 5


def test_the_metadata_validate_and_hold_every_result(folder, report):
    data = ModelCard.load(write_model_card(folder, report_dir=report, repo_id="me/it", license="mit")).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "fill-mask", "mit")
    assert {"masked-diffusion", "critic", "calibration", "critic-diffusion", "critic_gpt"} <= set(data.tags)
    name, results = model_index_to_eval_results(data.to_dict()["model-index"])
    assert name == "it"
    found = {(one.dataset_split, one.metric_name): one.metric_value for one in results}
    for split, how in (("validation", "cross-fitted"), ("test", "held out")):
        for kind, value in FIGURES.items():
            assert found.pop((split, f"critic {kind}, masks filled at once, {split}, {how}")) == value
    assert found == {
        ("test", "diffusion bound, nats per token"): 0.5649,
        (None, "valid_rate, random, 9 forward passes"): 0.009,
        (None, "valid_rate, random, 36 forward passes"): 0.0763,
        (None, "valid_rate, critic, 36 forward passes"): 0.9757,
    }


def test_figures_of_the_table_and_of_the_report_stand_in_the_card(folder, report):
    text = write_model_card(folder, report_dir=report).read_text()
    assert "| test | 0.5649 | 0.8150 |" in text
    assert "| 1,234 | 25.0 % | 0.0812 | 0.0200 | 0.1100 | 0.1100 | 0.9000 |" in text
    assert "| 1,234 | 47.0 % | 0.0812 | 0.0200 |" in text
    rows = text[text.index("| strategy |") :].splitlines()
    assert rows[0] == "| strategy | 9 | 36 |"
    assert rows[2:4] == ["| random | 0.9 ± 0.2 % | 7.6 ± 0.4 % |", "| critic | - | 97.6 ± 0.4 % |"]
    assert "1,000 samples for each of 3 seeds" in text
    assert "](figures/reliability.png)" in text
    assert (folder / "figures" / "reliability.png").read_bytes() == b"picture"


def test_a_report_to_pass_on_and_animations_of_these_weights_are_linked(folder, report):
    (report / "report.html").write_text("the report")
    (folder / "denoising.gif").write_bytes(b"GIF89a of other weights")
    (folder / "denoising.html").write_text(f"made by {folder_fingerprint(folder)}")
    text = write_model_card(folder, report_dir=report).read_text()
    assert "](figures/report.html)" in text and (folder / "figures" / "report.html").read_text() == "the report"
    assert "](denoising.html)" in text and "denoising.gif" not in text
    (report / "report.html").unlink()
    (folder / "denoising.html").unlink()
    text = write_model_card(folder, report_dir=report).read_text()
    assert "report.html" not in text and "denoising" not in text and not (folder / "figures" / "report.html").exists()


def test_what_was_not_measured_is_left_out(tmp_path, tiny_model):
    tiny_model(add_critic_head=False).save_pretrained(tmp_path)
    text = write_model_card(tmp_path).read_text()
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings == ["How to use it", "The model", "Limits"]
    assert "model-index" not in text and "license" not in text and not NUMBER.search(text)
    assert "It has no critic" in text and "P(wrong)" not in text
    assert "How good its samples are has not been measured" in text
    tiny_model().save_pretrained(tmp_path / "critic")
    card = ModelCard.load(write_model_card(tmp_path / "critic"))
    assert "The critic is not calibrated" in card.text and "calibration" not in card.data.tags


def test_the_other_heads_are_shown_with_their_own_pipeline(tmp_path, tiny_config, tokenizer):
    CriticGPTForSequenceClassification(tiny_config(num_labels=2)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    card = ModelCard.load(write_model_card(tmp_path, repo_id=str(tmp_path)))
    assert card.data.pipeline_tag == "text-classification" and "masked-diffusion" not in card.data.tags
    said = []
    code = re.search(r"```python\n(.+?)```", card.text, flags=re.DOTALL)[1].replace("some text", "abc")
    exec(code, {"print": said.append})
    assert said and "label" in said[0][0]


def test_the_data_tell_what_they_are_and_no_folder(tmp_path, folder):
    (tmp_path / "data").mkdir()
    facts = {"task": "text", "source": "/home/somebody/book.txt", "num_examples": {"train": 5000}, "seed": 0}
    (tmp_path / "data" / "task.json").write_text(json.dumps(facts))
    text = write_model_card(folder, data_dir=tmp_path / "data").read_text()
    assert "| data | book.txt |" in text and "| train sequences | 5,000 |" in text
    assert "somebody" not in text and "somebody" not in (folder / "measurements.json").read_text()
    assert write_model_card(folder).read_text() == text


# ---- what it leaves alone ----


def test_the_same_files_give_the_same_card(folder, report):
    first = write_model_card(folder, report_dir=report, license="mit", repo_id="me/it").read_text()
    assert write_model_card(folder).read_text() == first
    assert write_model_card(folder, report_dir=report).read_text() == first


def test_what_somebody_wrote_around_our_text_and_into_the_metadata_stays(folder):
    path = write_model_card(folder, repo_id="me/it")
    text = path.read_text().replace("\n---\n", "\nlicense: mit\nlanguage: en\n---\nFirst words.\n\n", 1)
    text = text.replace("- masked-diffusion\n", "- masked-diffusion\n- mine\n")
    path.write_text(text + "\n## Thanks\n\nTo all.\n")
    write_model_card(folder, datasets="me/data")
    again = path.read_text()
    assert again.index("First words.") < again.index("# it") < again.index("## Thanks\n\nTo all.")
    assert again.count("## Limits") == again.count("## Thanks") == 1
    data = ModelCard.load(path).data
    assert (data.license, data.language, data.datasets) == ("mit", "en", ["me/data"]) and "mine" in data.tags


def test_a_card_of_somebody_else_is_kept_below_ours(folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n\nWords.\n")
    refresh_model_card(folder)
    assert (folder / "README.md").read_text().startswith("---\nlicense: mit\n---\n# Mine")  # nobody asked for ours
    card = ModelCard.load(write_model_card(folder))
    assert card.data.license == "mit" and card.text.rstrip().endswith("# Mine\n\nWords.")


# ---- whose numbers ----


def test_numbers_of_other_weights_disappear(folder, report):
    text = write_model_card(folder, report_dir=report).read_text()
    assert "0.5649" in text and "0.0812" in text
    model = CriticGPTForMaskedLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight.add_(0.1)
    model.save_pretrained(folder)
    text = write_model_card(folder).read_text()
    assert not NUMBER.search(text) and "figures/" not in text and "not calibrated" in text


def test_a_report_on_other_weights_is_refused(folder, report):
    metrics = json.loads((report / "metrics.json").read_text())
    metrics["settings"]["fingerprint"] = "0" * 64
    (report / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(ValueError, match=r"`report_dir` must be a report on the weights .* evaluate the model again"):
        write_model_card(folder, report_dir=report)
    assert not (folder / "README.md").exists()
    with pytest.raises(ValueError, match=r"`report_dir` must be a folder written by scripts/evaluate.py"):
        write_model_card(folder, report_dir=folder.parent)
    with pytest.raises(ValueError, match=r"`folder` must hold a saved model, got .* save the model there first"):
        write_model_card(folder.parent)


# ---- the trainer ----


def test_the_trainer_writes_the_card_with_its_settings_and_its_last_evaluation(tmp_path, tiny_model, tokenizer):
    trainer = make_trainer(tmp_path, tiny_model(), tokenizer, learning_rate=2e-3, ema_decay=0.5, seed=7)
    trainer.train()
    trainer.save_model()
    assert "Language model" not in (tmp_path / "README.md").read_text()
    metrics = trainer.evaluate()
    trainer.create_model_card(license="mit", tags="mine", model_name="it", finetuned_from="me/base")
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.base_model) == ("mit", "me/base") and "mine" in card.data.tags
    assert f"| validation, at the end of training | {metrics['eval_lm_loss']:.4f} |" in card.text
    for row in ("learning rate | 0.002", "ema decay | 0.5", "seed | 7", "optimizer steps | 1", "sequences a step | 4"):
        assert f"| {row} |" in card.text
    (bound,) = card.data.eval_results
    assert bound.metric_value == pytest.approx(metrics["eval_lm_loss"], abs=1e-6)
    training = read_measurements(tmp_path)["training"]
    assert training["fingerprint"] == CriticGPTForMaskedLM.from_pretrained(tmp_path).fingerprint()
    assert str(tmp_path) not in (tmp_path / "measurements.json").read_text()


def test_checkpoints_and_the_next_save_leave_the_users_words(tmp_path, tiny_model, tokenizer):
    trainer = make_trainer(tmp_path, tiny_model(), tokenizer, save_strategy="steps", save_steps=1)
    trainer.save_model()
    (tmp_path / "README.md").write_text((tmp_path / "README.md").read_text() + "\nMy words.\n")
    trainer.train()
    trainer.save_model()
    text = (tmp_path / "README.md").read_text()
    assert text.count("My words.") == 1 and "| optimizer steps | 1 |" in text
    assert not (tmp_path / "checkpoint-1" / "README.md").exists()


def test_an_adapter_has_a_card_of_its_own(tmp_path, folder, tokenizer):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["critic_head"])
    adapted = peft.get_peft_model(CriticGPTForMaskedLM.from_pretrained(folder), config)
    adapted.save_pretrained(tmp_path / "plain")
    assert "[More Information Needed]" in (tmp_path / "plain" / "README.md").read_text()
    assert "[More Information Needed]" not in write_model_card(tmp_path / "plain").read_text()
    trainer = make_trainer(tmp_path / "out", adapted, tokenizer)
    trainer.train()
    trainer.save_model()
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "peft" and card.data.base_model is None  # a folder here says nothing elsewhere
    assert "| adapter | LORA, rank 2 |" in card.text and "| optimizer steps | 1 |" in card.text
    assert "[More Information Needed]" not in card.text and str(tmp_path) not in card.text


def test_the_card_names_the_weight_of_every_term_of_the_loss(tmp_path, tiny_model, tokenizer):
    fields = {"critic_regime": "partial", "remaining_alpha": 0.25, "correction_alpha": 0.0, "joint_alpha": 0.75}
    trainer = make_trainer(tmp_path, tiny_model(add_joint_head=True, **fields), tokenizer)
    trainer.train()
    trainer.save_model()
    text = (tmp_path / "README.md").read_text()
    assert re.findall(r"^\| (\w+ alpha) \| (.+) \|$", text, flags=re.MULTILINE) == [
        ("critic alpha", "0.5"),
        ("remaining alpha", "0.25"),
        ("joint alpha", "0.75"),
    ]


@pytest.mark.slow
def test_the_scripts_fill_the_card_act_by_act(tmp_path):
    data, model, report = (str(tmp_path / name) for name in ("data", "model", "report"))
    prepare_sudoku(data, splits=(220, 40, 20))
    shape = as_flags(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, add_critic_head=True)
    quiet = as_flags(use_cpu=True, report_to="none", max_steps=3, precision="fp32")
    metrics = train.main([*as_flags(data_dir=data, output_dir=model), *shape, *quiet])
    path = tmp_path / "model" / "README.md"
    text = path.read_text()
    assert "| data | sudoku 4x4 |" in text and f"{metrics['eval_lm_loss']:.4f}" in text and "not calibrated" in text
    calibrate.main([data, model, "20", "--split", "validation"])
    assert "masks filled at once, validation, cross-fitted" in path.read_text()
    budget = ["--forward_passes", "4", "--num_samples", "8", "--num_judged", "16", "--batch_size", "8"]
    measured = evaluate.main(["--model", model, "--data_dir", data, "--output_dir", report, *budget])
    text = write_model_card(model, report_dir=report).read_text()
    assert f"| test | {measured['language_model']['nats_per_token']:.4f} |" in text
    assert "masks filled at once, test, held out" in text and "](figures/reliability.png)" in text
    assert "| strategy | 4 |" in text and "| critic | " in text
    assert path.read_text() == text and write_model_card(model).read_text() == text
