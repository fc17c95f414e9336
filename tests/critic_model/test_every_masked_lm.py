# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Every masked-LM type of Transformers gets a critic, learns, is calibrated, generates, is saved and loaded."""

import pytest
import torch
from tiny_masked_lms import MODEL_TYPES, WORDS, framed_tokenizer, tiny_masked_lm
from transformers import AutoModelForMaskedLM, pipeline

from critic_gpt import (
    AutoModelForMaskedLMWithCritic,
    CriticConfig,
    CriticTrainer,
    CriticTrainingArguments,
    get_critic_model,
)


TOKENIZER = framed_tokenizer()
TEXTS = [" ".join(WORDS[(start + place) % len(WORDS)] for place in range(7)) for start in range(24)]
ROWS = [{"input_ids": TOKENIZER(text)["input_ids"]} for text in TEXTS]
SPECIAL = set(TOKENIZER.all_special_ids)
QUIET = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}


def holes(text: str = "w1 w2 [MASK] [MASK] w5 w6 w7") -> dict[str, torch.Tensor]:
    return dict(TOKENIZER(text, return_tensors="pt"))


@pytest.mark.parametrize("model_type", sorted(MODEL_TYPES))
def test_a_model_of_this_type_gets_a_critic_and_stays_what_it_is(model_type, tmp_path):
    stock = tiny_masked_lm(model_type)
    inputs = holes()
    with torch.no_grad():
        before = stock(input_ids=inputs["input_ids"]).logits[:, : inputs["input_ids"].shape[1]]
    names, kind = [name for name, _ in stock.named_parameters()], type(stock)

    model = get_critic_model(stock, CriticConfig(freeze=False), tokenizer=TOKENIZER)
    assert isinstance(model, kind) and type(model).__name__ == f"{kind.__name__}WithCritic"
    assert [name for name, _ in model.named_parameters() if not name.startswith("critic_head.")] == names
    with torch.no_grad():
        assert torch.equal(model.eval()(input_ids=inputs["input_ids"]).logits, before)

    args = CriticTrainingArguments(str(tmp_path / "run"), max_steps=20, learning_rate=3e-3, **QUIET)
    CriticTrainer(model, args, train_dataset=ROWS, processing_class=TOKENIZER).train()
    assert model.has_trained_critic
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    table = model.calibrate(ROWS, batch_size=12)
    assert table.metadata["num_sequences"] == len(ROWS)

    sequences = model.generate(**inputs, remasking="critic", num_steps=4, seed=0).sequences
    drawn = sequences[inputs["input_ids"] == TOKENIZER.mask_token_id].tolist()
    assert not SPECIAL & set(drawn) and max(drawn) < len(TOKENIZER)

    model.save_pretrained(tmp_path / "whole")
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path / "whole")
    assert type(plain) is kind
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "whole")
    assert loaded.calibration == table
    with torch.no_grad():
        own, its, stocks = (one.eval()(input_ids=inputs["input_ids"]) for one in (model, loaded, plain))
    length = inputs["input_ids"].shape[1]
    assert torch.equal(own.logits, its.logits)
    # But for the padding, which is no prediction: Funnel's stock class sets its row to zero as it loads.
    assert torch.equal(own.logits[..., 1:], stocks.logits[:, :length, 1:])
    torch.testing.assert_close(own.critic_logits, its.critic_logits)

    result = pipeline("critic-diffusion", model=str(tmp_path / "whole"))("w1 w2 [MASK] [MASK] w5", num_steps=2, seed=0)
    assert not SPECIAL & set(result["token_ids"]) and len(result["token_ids"]) == 5
    proof = pipeline("critic-proofread", model=str(tmp_path / "whole"))("w1 w2 w9 w4 w5")
    assert [token["kind"] for token in proof["tokens"]] == ["text"] * 5 and proof["calibrated"]


@pytest.mark.parametrize("model_type", sorted(MODEL_TYPES))
def test_the_critics_loss_reaches_the_weights_of_a_model_that_is_not_frozen(model_type):
    model = get_critic_model(
        tiny_masked_lm(model_type), CriticConfig(freeze=False, critic_head_type="linear"), tokenizer=TOKENIZER
    ).train()
    torch.nn.init.normal_(model.critic_head.weight)
    inputs = holes()
    labels = torch.where(inputs["input_ids"] == TOKENIZER.mask_token_id, 9, -100)
    loss = model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}, labels=labels).critic_loss
    loss.backward()
    reached = [
        name
        for name, weight in model.named_parameters()
        if not name.startswith("critic_head.") and weight.grad is not None and bool(weight.grad.any())
    ]
    assert reached


@pytest.mark.parametrize("model_type", sorted(MODEL_TYPES))
def test_the_longest_sequence_is_one_that_the_model_takes(model_type):
    model = get_critic_model(tiny_masked_lm(model_type), tokenizer=TOKENIZER)
    longest = model.backbone.max_sequence_length or 64
    ids = torch.full((1, longest), TOKENIZER.convert_tokens_to_ids("w1"))
    ids[:, 0], ids[:, -1] = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id
    with torch.no_grad():
        assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.shape[:2] == (1, longest)


def test_the_types_are_those_of_transformers():
    assert len(MODEL_TYPES) == 51
    assert MODEL_TYPES.keys() >= {"bert", "roberta", "modernbert", "eurobert", "esm", "perceiver"}
