# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about adapters of PEFT: trained, saved, loaded and merged, each with its own calibration."""

import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoModelForMaskedLM, pipeline

from critic_gpt import (
    CriticCalibration,
    CriticGPTForMaskedLM,
    CriticTrainer,
    CriticTrainingArguments,
    UnfreezeCallback,
)
from critic_gpt.calibration.fingerprint import has_adapters
from critic_gpt.scripts import calibrate


peft = pytest.importorskip("peft")

IDS = torch.arange(2, 26).view(2, 12)


def lora(**fields):
    trunk = {"r": 2, "target_modules": ["q_proj", "v_proj", "up_proj"], "modules_to_save": ["critic_head"]}
    return peft.LoraConfig(**{**trunk, "init_lora_weights": False, **fields})


def table(value):
    return CriticCalibration([value] * 100)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def base_folder(tmp_path, tiny_model, tokenizer):
    """A model with a table of its own, and its tokenizer."""
    model = tiny_model()
    model.calibration = table(0.25).with_metadata(fingerprint=model.fingerprint())
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def base(base_folder):
    return CriticGPTForMaskedLM.from_pretrained(base_folder)


def adapt(model, seed=1, **fields):
    """Puts an adapter on a model that changes what it says."""
    torch.manual_seed(seed)
    adapted = peft.get_peft_model(model, lora(**fields)).eval()
    with torch.no_grad():
        model.critic_head.weight.add_(0.1)
    return adapted


@pytest.fixture
def adapter_folder(tmp_path, base, tokenizer):
    """An adapter for the base, with a table that was measured with it."""
    adapted = adapt(base)
    base.calibration = table(0.75).with_metadata(fingerprint=base.fingerprint())
    adapted.save_pretrained(tmp_path / "adapter")
    base.save_calibration(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def loaded_with(base_folder, adapter_folder):
    model = peft.PeftModel.from_pretrained(CriticGPTForMaskedLM.from_pretrained(base_folder), adapter_folder)
    model.load_calibration(adapter_folder)
    return model


def make_trainer(folder, model, tokenizer, **arguments):
    generator = torch.Generator().manual_seed(0)
    rows = [{"input_ids": row.tolist()} for row in torch.randint(2, 32, (16, 12), generator=generator)]
    quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "save_strategy": "no", "logging_steps": 1}
    args = CriticTrainingArguments(
        str(folder), **{**quiet, "max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-2, **arguments}
    )
    return CriticTrainer(model, args, processing_class=tokenizer, train_dataset=rows, eval_dataset=rows[:4])


# ---- training ----


@pytest.mark.parametrize("arguments", [{}, {"gradient_checkpointing": True}, {"muon_learning_rate": 0.01}])
def test_an_adapter_trains_saves_and_loads_and_the_base_stays_as_it_was(tmp_path, base_folder, tokenizer, arguments):
    before = contents(base_folder)
    base = CriticGPTForMaskedLM.from_pretrained(base_folder)
    weights = {name: weight.clone() for name, weight in base.named_parameters()}
    adapted = peft.get_peft_model(base, lora(init_lora_weights=True))
    trained = {name: weight.clone() for name, weight in adapted.named_parameters() if weight.requires_grad}
    trainer = make_trainer(tmp_path / "out", adapted, tokenizer, **arguments)
    trainer.train()
    assert trainer.evaluate()["eval_critic_loss"] > 0
    trainer.save_model()
    now = dict(adapted.named_parameters())
    moved = {name for name, weight in trained.items() if not torch.equal(weight, now[name])}
    assert moved == set(trained) and any("critic_head" in name for name in moved)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert "adapter_model.safetensors" in files and not files & {"model.safetensors", "calibration.json"}
    assert contents(base_folder) == before
    fresh = CriticGPTForMaskedLM.from_pretrained(base_folder)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path / "out").eval()
    assert torch.equal(loaded.critic_scores(IDS), adapted.eval().critic_scores(IDS))
    with loaded.disable_adapter():
        plain = CriticGPTForMaskedLM.from_pretrained(base_folder).eval()
        assert torch.equal(loaded.critic_scores(IDS), plain.critic_scores(IDS))
    assert all(torch.equal(weights[name], weight) for name, weight in plain.named_parameters())


def test_a_resumed_adapter_ends_with_the_same_weights(tmp_path, base_folder, tokenizer):
    def run(folder, resume=None):
        torch.manual_seed(0)
        adapted = peft.get_peft_model(CriticGPTForMaskedLM.from_pretrained(base_folder), lora())
        settings = {"save_strategy": "steps", "save_steps": 2, "ema_decay": 0.9}
        make_trainer(folder, adapted, tokenizer, **settings).train(resume_from_checkpoint=resume)
        return {name: weight.clone() for name, weight in adapted.named_parameters()}

    whole = run(tmp_path / "out")
    resumed = run(tmp_path / "again", str(tmp_path / "out" / "checkpoint-2"))
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())


def test_unfreezing_the_trunk_below_an_adapter_is_refused(tmp_path, base, tokenizer):
    trainer = make_trainer(tmp_path, adapt(base), tokenizer)
    trainer.add_callback(UnfreezeCallback(1))
    with pytest.raises(ValueError, match=r"`callbacks` must hold no UnfreezeCallback beside adapters"):
        trainer.train()


def test_a_critic_of_its_own_comes_with_an_adapter_for_a_base_that_has_none(tmp_path, tiny_model):
    tiny_model(add_critic_head=False).save_pretrained(tmp_path / "lm")
    before = contents(tmp_path / "lm")

    def load():
        return CriticGPTForMaskedLM.from_pretrained(tmp_path / "lm", add_critic_head=True)

    adapted = adapt(load())
    adapted.save_pretrained(tmp_path / "critic")
    loaded = peft.PeftModel.from_pretrained(load(), tmp_path / "critic").eval()
    assert loaded.has_trained_critic
    assert torch.equal(loaded.critic_scores(IDS), adapted.critic_scores(IDS))
    with loaded.disable_adapter():
        assert not loaded.has_trained_critic
    assert contents(tmp_path / "lm") == before


# ---- the table of each set of weights ----


def test_neither_table_serves_the_weights_of_the_other_one(base_folder, adapter_folder, base):
    document = json.loads((adapter_folder / "calibration.json").read_text())
    assert set(document) == {"adapter_model.safetensors", "__metadata__"}
    model = CriticGPTForMaskedLM.from_pretrained(base_folder)
    assert model.calibration == CriticCalibration.load(base_folder)
    loaded = peft.PeftModel.from_pretrained(model, adapter_folder)
    assert loaded.calibration is None  # PEFT reads the adapter alone, and the base's table is not the adapter's
    loaded.load_calibration(adapter_folder)
    assert loaded.calibration.probabilities == table(0.75).probabilities
    with loaded.disable_adapter():
        assert loaded.calibration.probabilities == table(0.25).probabilities
    assert loaded.calibration.probabilities == table(0.75).probabilities
    assert loaded.unload().calibration is None  # PEFT leaves the trained critic on the bare trunk


@pytest.mark.parametrize("load", ["load_adapter", "own class", "auto class", "AutoPeftModel"])
def test_every_way_of_loading_an_adapter_gives_its_scores_and_its_table(base_folder, adapter_folder, base, load):
    if load == "load_adapter":
        model = CriticGPTForMaskedLM.from_pretrained(base_folder)
        model.load_adapter(adapter_folder)
    elif load == "own class":
        model = CriticGPTForMaskedLM.from_pretrained(adapter_folder)
    elif load == "auto class":
        model = AutoModelForMaskedLM.from_pretrained(adapter_folder)
    else:
        allowed = ["critic_gpt.modeling_critic_gpt"]
        model = peft.AutoPeftModel.from_pretrained(adapter_folder, import_allowlist=allowed)
        model.load_calibration(adapter_folder)
    assert torch.equal(model.eval().critic_scores(IDS), base.critic_scores(IDS))
    assert model.calibration.probabilities == table(0.75).probabilities


def test_what_transformers_loaded_is_saved_as_an_adapter_with_its_table_again(tmp_path, adapter_folder, base):
    CriticGPTForMaskedLM.from_pretrained(adapter_folder).save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "model.safetensors").exists()
    again = CriticGPTForMaskedLM.from_pretrained(tmp_path / "again").eval()
    assert torch.equal(again.critic_scores(IDS), base.critic_scores(IDS))
    assert again.calibration == base.calibration


def test_the_table_of_another_adapter_is_refused_and_each_serves_its_own(tmp_path, base_folder, adapter_folder):
    other = adapt(CriticGPTForMaskedLM.from_pretrained(base_folder), seed=2)
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "calibration.json").write_bytes((adapter_folder / "calibration.json").read_bytes())
    model = CriticGPTForMaskedLM.from_pretrained(base_folder)
    model.load_adapter(adapter_folder, "one")
    model.load_adapter(tmp_path / "other", "other")
    model.set_adapter("other")
    assert model.calibration is None
    model.calibration = table(0.5)
    model.set_adapter("one")
    assert model.calibration.probabilities == table(0.75).probabilities
    model.set_adapter("other")
    assert model.calibration.probabilities == table(0.5).probabilities
    model.disable_adapters()
    assert model.calibration.probabilities == table(0.25).probabilities


@pytest.mark.parametrize(
    "config",
    [
        lora(),
        lora(use_dora=True),
        lora(modules_to_save=["critic_head", "lm_head"]),
        peft.IA3Config(target_modules=["k_proj", "up_proj"], feedforward_modules=["up_proj"]),
        peft.LoHaConfig(target_modules=["q_proj"], init_weights=False),
    ],
    ids=["lora", "dora", "lm_head", "ia3", "loha"],
)
def test_an_adapted_model_is_identified_by_the_weights_that_merging_leaves(base, config):
    own = base.fingerprint()
    scores = base.eval().critic_scores(IDS)
    adapted = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(0.3)
    expected, changed = base.fingerprint(), base.critic_scores(IDS)
    assert expected != own == base.fingerprint(adapted=False)
    assert not torch.allclose(changed, scores)
    adapted.merge_adapter()
    assert base.fingerprint() == expected
    adapted.unmerge_adapter()
    merged = adapted.merge_and_unload()
    assert merged is base and not has_adapters(base)
    torch.testing.assert_close(base.critic_scores(IDS), changed, rtol=1e-4, atol=1e-5)


def test_merging_keeps_the_scores_and_the_adapters_table(tmp_path, base_folder, adapter_folder, base):
    model = loaded_with(base_folder, adapter_folder)
    merged = model.merge_and_unload().eval()
    torch.testing.assert_close(merged.critic_scores(IDS), base.critic_scores(IDS), rtol=1e-5, atol=1e-5)
    assert merged.calibration == base.calibration
    merged.save_pretrained(tmp_path / "merged")
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(loaded.eval().critic_scores(IDS), merged.critic_scores(IDS))
    assert loaded.calibration == base.calibration


def test_merging_without_the_adapters_table_leaves_none(base_folder, adapter_folder):
    model = peft.PeftModel.from_pretrained(CriticGPTForMaskedLM.from_pretrained(base_folder), adapter_folder)
    assert model.merge_and_unload().calibration is None


# ---- use ----


def test_an_adapted_model_generates_as_the_merged_one_does(base_folder, adapter_folder, tokenizer):
    model = loaded_with(base_folder, adapter_folder)
    canvas, settings = torch.full((2, 12), tokenizer.mask_token_id), {"num_steps": 4, "seed": 3}
    adapted = model.generate(canvas, **settings)
    assert set(adapted.error_probabilities.flatten().tolist()) == {0.75}
    pipe = pipeline("critic-diffusion", model=model, tokenizer=tokenizer)
    text = pipe(None, max_new_tokens=12, num_steps=4, seed=3)["generated_text"]
    merged = model.merge_and_unload()
    assert torch.equal(merged.generate(canvas, **settings).sequences, adapted.sequences)
    same = pipeline("critic-diffusion", model=merged, tokenizer=tokenizer)
    assert same(None, max_new_tokens=12, num_steps=4, seed=3)["generated_text"] == text


def test_the_pipeline_and_calibrate_take_the_folder_of_an_adapter(tmp_path, base_folder, adapter_folder, tokenizer):
    before = contents(base_folder)
    rows = Dataset.from_dict({"input_ids": torch.randint(2, 32, (8, 12)).tolist()})
    DatasetDict({"train": rows}).save_to_disk(tmp_path / "data")
    tokenizer.save_pretrained(tmp_path / "data")
    (adapter_folder / "calibration.json").unlink()
    measured = calibrate.main([str(tmp_path / "data"), str(adapter_folder), "8", "--batch_size", "4"])
    document = json.loads((adapter_folder / "calibration.json").read_text())
    assert set(document) == {"adapter_model.safetensors", "__metadata__"}
    assert contents(base_folder) == before
    pipe = pipeline("critic-diffusion", model=str(adapter_folder))
    assert pipe.model.calibration == measured
    assert len(pipe(None, max_new_tokens=6, num_steps=2, seed=0)["generated_text"]) == 6
