# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What `get_critic_model` makes of a model, and what it refuses."""

import copy
import pickle

import pytest
import torch
from stand_ins import CausalModel, HookFreeConfig, HookFreeModelLM, NoLanguageModel, ShiftedConfig, ShiftedModel
from tiny_masked_lms import framed_tokenizer, tiny_config, tiny_masked_lm
from transformers import AutoModel, AutoModelForTokenClassification, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from critic_gpt import CriticConfig, CriticTrainer, CriticTrainingArguments, get_critic_model


TOKENIZER = framed_tokenizer()
IDS = TOKENIZER("w1 w2 [MASK] w4 w5", return_tensors="pt")["input_ids"]
PLACE = 3  # of the mask


def hook_free():
    torch.manual_seed(0)
    return HookFreeModelLM(HookFreeConfig()).eval()


def shifted():
    torch.manual_seed(0)
    config = ShiftedConfig(
        **{name: getattr(tiny_config("bert"), name) for name in ("vocab_size", "hidden_size", "num_hidden_layers")},
        num_attention_heads=2,
        intermediate_size=37,
    )
    return ShiftedModel(config).eval()


def trained_a_little(model, rows=8):
    data = [{"input_ids": TOKENIZER(f"w{i} w{i + 1} w{i + 2} w{i + 3}")["input_ids"]} for i in range(rows)]
    args = CriticTrainingArguments(
        "unused", max_steps=5, learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    CriticTrainer(model, args, train_dataset=data, processing_class=TOKENIZER).train()
    return model


def test_a_frozen_model_learns_nothing_but_its_critic_and_keeps_its_dropout_off():
    stock = tiny_masked_lm("bert", hidden_dropout_prob=0.5)
    before = copy.deepcopy(stock.state_dict())
    model = trained_a_little(get_critic_model(stock, CriticConfig(freeze=True), tokenizer=TOKENIZER))
    assert model.has_trained_critic
    after = {name: weight for name, weight in model.state_dict().items() if not name.startswith("critic_head.")}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    model.train()
    assert model.critic_head.training and not model.bert.training
    assert torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_a_model_whose_hooks_never_fire_gives_its_states_on_request():
    stock = hook_free()
    with torch.no_grad():
        before = stock(IDS).logits
    model = get_critic_model(stock, tokenizer=TOKENIZER)
    backbone = model.backbone
    assert (backbone.states_from, backbone.takes_attention_mask) == ("hidden_states", False)
    assert (backbone.vocab_size, backbone.max_sequence_length) == (40, 48)
    trained_a_little(model).eval()
    with torch.no_grad():
        output = model(input_ids=IDS, attention_mask=torch.ones_like(IDS))
    assert torch.equal(output.logits, before) and output.hidden_states is None and bool(output.critic_logits.any())
    drawn = model.generate(IDS, remasking="critic", num_steps=3, seed=0).sequences[0, PLACE]
    assert 5 <= int(drawn) < len(TOKENIZER)


def test_shifted_logits_are_read_where_they_speak_of():
    stock = shifted()
    plain = BertForMaskedLM.forward(stock, input_ids=IDS).logits
    model = get_critic_model(stock, tokenizer=TOKENIZER)
    assert model.backbone.logit_shift == 1
    aligned = model(input_ids=IDS).logits
    assert torch.equal(aligned[:, 1:], plain[:, 1:])
    wanted = plain[0, PLACE].clone()
    wanted[[0, 1, 2, 3, 4, *range(len(TOKENIZER), 40)]] = float("-inf")
    assert int(model.generate(IDS, num_steps=1, temperature=0.0, remasking="random").sequences[0, PLACE]) == int(
        wanted.argmax()
    )


def test_the_class_is_made_once_and_survives_a_pickle_and_a_copy():
    first, second = (get_critic_model(tiny_masked_lm("bert"), tokenizer=TOKENIZER) for _ in range(2))
    assert type(first) is type(second)
    for other in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert type(other) is type(first)
        assert torch.equal(other(input_ids=IDS).logits, first(input_ids=IDS).logits)


REFUSED = [
    (lambda: torch.nn.Linear(2, 2), {}, "`model` must be a masked language model of Transformers, got a Linear"),
    (lambda: NoLanguageModel(HookFreeConfig()), {}, "`model` must be a masked language model, which makes logits"),
    (lambda: AutoModel.from_config(tiny_config("bert")), {}, "`model` must be a masked language model"),
    (
        lambda: AutoModelForTokenClassification.from_config(tiny_config("bert")),
        {},
        "`tokenizer` must be that of the model, which has 2 tokens",
    ),
    (lambda: CausalModel(HookFreeConfig()), {}, "which is causal"),
    (
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=2, n_positions=64)),
        {},
        "which is causal",
    ),
    (lambda: tiny_masked_lm("bert"), {"tokenizer": None}, "`tokenizer` must be the model's own, with a mask token"),
    (lambda: tiny_masked_lm("bert", vocab_size=9), {}, "`tokenizer` must be that of the model, which has 9 tokens"),
    (
        lambda: get_critic_model(tiny_masked_lm("bert"), tokenizer=TOKENIZER),
        {},
        "`model` must be a masked language model without a critic",
    ),
    (lambda: tiny_masked_lm("bert"), {"config": {"freeze": True}}, "`config` must be a CriticConfig, got a dict"),
]


@pytest.mark.parametrize(("make", "given", "message"), REFUSED)
def test_what_can_have_no_critic_is_refused_in_one_sentence(make, given, message):
    arguments = {"tokenizer": TOKENIZER, "config": CriticConfig(), **given}
    with pytest.raises(ValueError, match="must") as refusal:
        get_critic_model(make(), arguments["config"], tokenizer=arguments["tokenizer"])
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_tokenizer_without_a_mask_is_refused():
    tokenizer = framed_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match="`tokenizer` must be the model's own, with a mask token"):
        get_critic_model(tiny_masked_lm("bert"), tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("field", "value"), [("critic_head_type", "deep"), ("critic_alpha", -1.0), ("critic_regime", "all"), ("freeze", 1)]
)
def test_a_critic_config_names_the_field_that_is_wrong(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be"):
        CriticConfig(**{field: value})
