# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The scripts take a masked language model of somebody else's, from training its critic to looking at it."""

import datasets
import pytest
import torch
from prepared_folders import prepare_text
from tiny_masked_lms import WORDS, framed_tokenizer, tiny_masked_lm
from transformers import GPT2Config, GPT2LMHeadModel

from critic_gpt import AutoModelForMaskedLMWithCritic
from critic_gpt.scripts import calibrate, evaluate, explore, generate, proofread, train


TOKENIZER = framed_tokenizer()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    tiny_masked_lm("bert").save_pretrained(folder / "base")
    TOKENIZER.save_pretrained(folder / "base")
    # Without the frame, as prepared data are: the model's own is put around them.
    rows = [
        {
            "input_ids": TOKENIZER(
                " ".join(WORDS[(start + i) % 27] for i in range(8)), add_special_tokens=False
            ).input_ids
        }
        for start in range(27)
    ]
    splits = {"train": rows, "validation": rows[:12]}
    data = datasets.DatasetDict({name: datasets.Dataset.from_list(part) for name, part in splits.items()})
    data.save_to_disk(folder / "data")
    TOKENIZER.save_pretrained(folder / "data")
    return folder


def training(folders, output, *flags):
    return [
        *("--data_dir", str(folders / "data"), "--output_dir", str(folders / output), "--max_steps", "6"),
        *("--model_name_or_path", str(folders / "base"), "--learning_rate", "1e-2", "--save_strategy", "no"),
        *("--use_cpu", "True", "--disable_tqdm", "True", "--per_device_train_batch_size", "8", *flags),
    ]


@pytest.fixture(scope="module", params=["True", "False"], ids=["frozen", "whole"])
def model(request, folders):
    output = f"critic-{request.param}"
    train.main(training(folders, output, "--add_critic_head", "True", "--freeze_trunk", request.param))
    return folders / output


def test_a_critic_is_trained_calibrated_and_used(model, folders, capsys):
    assert (model / "critic_config.json").exists() == ("True" in model.name)
    table = calibrate.main([str(folders / "data"), str(model), "12", "--split", "validation"])
    assert table.metadata["num_sequences"] == 12
    planted = calibrate.main([str(folders / "data"), str(model), "12", "--split", "validation", "--source", "planted"])
    assert planted.metadata["planted_rate"] == 0.02 and planted.metadata["source"] == "planted"
    assert "texts with few errors" in (model / "README.md").read_text()
    generate.main(["--model", str(model), "--prompt", "w1 w2 [MASK] w4", "--num_steps", "2", "--seed", "1"])
    assert "w4" in capsys.readouterr().out
    proofread.main(["--model", str(model), "--text", "w1 w2 w9 w4"])
    assert "w9" in capsys.readouterr().out
    view = explore.main(["--model", str(model), "--view", "text", "--text", "w1 w2 w9 w4", "--json"])
    assert view is not None


def test_text_is_evaluated_within_the_frame_that_the_model_knows_it_in(model, folders, tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(" ".join(WORDS[(i + j) % 27] for j in range(8)) for i in range(99)))
    given = {"tokenizer": str(folders / "base"), "sequence_length": 6, "test_share": 0.3}
    data = prepare_text(tmp_path / "data", tmp_path / "words.txt", **given)
    read = set()

    def look(module, inputs):
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:  # of tokens
            read.update((row[0], row[-1], len(row)) for row in inputs[0].tolist())

    hook = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        flags = ["--output_dir", str(tmp_path / "report"), "--num_samples", "4", "--forward_passes", "2"]
        metrics = evaluate.main(["--model", str(model), "--data_dir", str(data), "--num_judged", "4", *flags])
    finally:
        hook.remove()
    assert read == {(TOKENIZER.cls_token_id, TOKENIZER.sep_token_id, 8)}
    # The frame is no part of a text.
    assert all(row["2"] == 1.0 for row in metrics["known_word_rate"].values())


def test_what_is_of_critic_gpt_alone_is_refused(folders):
    for flags, message in (
        (("--add_critic_head", "True", "--add_joint_head", "True"), "`add_joint_head` must be left out for a model"),
        (("--freeze_trunk", "True"), "`add_critic_head` must be True for a model that is not CriticGPT"),
        (("--add_critic_head", "True", "--muon_learning_rate", "0.01"), "`muon_learning_rate` must be left out for a"),
    ):
        with pytest.raises(ValueError, match=message):
            train.main(training(folders, "refused", *flags))


def test_a_causal_model_is_refused(folders, tmp_path):
    config = GPT2Config(vocab_size=len(TOKENIZER), n_embd=8, n_layer=1, n_head=1)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "causal")
    flags = ("--add_critic_head", "True", "--model_name_or_path", str(tmp_path / "causal"))
    with pytest.raises(ValueError, match=r"^`model_name_or_path` must be a masked language model, got .*'gpt2'"):
        train.main(training(folders, "refused", *flags))


def test_a_critic_of_a_base_in_float16_learns_in_float32_and_stays_finite(folders, tmp_path):
    tiny_masked_lm("roberta").half().save_pretrained(tmp_path / "half")
    TOKENIZER.save_pretrained(tmp_path / "half")
    flags = ("--add_critic_head", "True", "--freeze_trunk", "True", "--model_name_or_path", str(tmp_path / "half"))
    train.main([*training(folders, tmp_path / "critic", *flags), "--max_steps", "12"])
    model = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "critic")  # refuses NaN
    assert (tmp_path / "critic" / "critic_head.safetensors").exists() and model.has_trained_critic
    train.main([*training(folders, tmp_path / "again", *flags[:-1], str(tmp_path / "critic"))])
    assert AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "again").has_trained_critic


def test_a_model_without_a_critic_is_named(folders):
    for main, arguments in (
        (calibrate.main, [str(folders / "data"), str(folders / "base"), "4"]),
        (explore.main, ["--model", str(folders / "base"), "--view", "text", "--text", "w1"]),
    ):
        with pytest.raises(ValueError, match=r"without one|must"):
            main(arguments)
