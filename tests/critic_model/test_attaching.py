# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What `get_critic_model` makes of a model, and what it refuses."""

import copy
import json
import pickle

import pytest
import torch
from stand_ins import CausalModel, HookFreeConfig, HookFreeModelLM, NoLanguageModel, ShiftedConfig, ShiftedModel
from tiny_masked_lms import framed_tokenizer, tiny_config, tiny_masked_lm
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForTokenClassification,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    pipeline,
)

from critic_gpt import (
    AutoModelForMaskedLMWithCritic,
    CriticConfig,
    CriticTrainer,
    CriticTrainingArguments,
    get_critic_model,
)


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


def trained_a_little(model, folder, rows=8):
    data = [{"input_ids": TOKENIZER(f"w{i} w{i + 1} w{i + 2} w{i + 3}")["input_ids"]} for i in range(rows)]
    args = CriticTrainingArguments(
        str(folder), max_steps=5, learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    CriticTrainer(model, args, train_dataset=data, processing_class=TOKENIZER).train()
    return model


def test_a_frozen_model_learns_nothing_but_its_critic_and_keeps_its_dropout_off(tmp_path):
    stock = tiny_masked_lm("bert", hidden_dropout_prob=0.5)
    before = copy.deepcopy(stock.state_dict())
    model = trained_a_little(get_critic_model(stock, CriticConfig(freeze=True), tokenizer=TOKENIZER), tmp_path)
    assert model.has_trained_critic
    after = {name: weight for name, weight in model.state_dict().items() if not name.startswith("critic_head.")}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    model.train()
    assert model.critic_head.training and not model.bert.training
    assert torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_weights_in_float16_are_not_trained(tmp_path):
    for freeze in (True, False):
        model = get_critic_model(tiny_masked_lm("bert").half(), CriticConfig(freeze=freeze), tokenizer=TOKENIZER)
        with pytest.raises(ValueError, match=r"`model` must learn in float32 or bfloat16, got float16 for `"):
            trained_a_little(model, tmp_path)


def test_a_model_whose_hooks_never_fire_gives_its_states_on_request(tmp_path):
    stock = hook_free()
    with torch.no_grad():
        before = stock(IDS).logits
    model = get_critic_model(stock, tokenizer=TOKENIZER)
    backbone = model.backbone
    assert (backbone.states_from, backbone.takes_attention_mask) == ("hidden_states", False)
    assert (backbone.vocab_size, backbone.max_sequence_length) == (40, 48)
    trained_a_little(model, tmp_path).eval()
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
        "`model` must be a masked language model, with a logit for each of the 32 tokens, got a Bert",
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
    (lambda: tiny_masked_lm("bert"), {"tokenizer": "a name"}, "`tokenizer` must be a tokenizer of Transformers, got"),
    (lambda: BertForMaskedLM, {}, "got a type: load one with AutoModelForMaskedLM"),
    (lambda: torch.nn.DataParallel(tiny_masked_lm("bert")), {}, "got a DataParallel: give the critic to its `module`"),
    (lambda: torch.compile(tiny_masked_lm("bert")), {}, "give the critic to the model, then compile it"),
    (lambda: tiny_masked_lm("esm", mask_token_id=8), {}, "`tokenizer` must be that of the model, got one whose mask"),
]


@pytest.mark.parametrize(("make", "given", "message"), REFUSED)
def test_what_can_have_no_critic_is_refused_in_one_sentence(make, given, message):
    arguments = {"tokenizer": TOKENIZER, "config": CriticConfig(), **given}
    with pytest.raises(ValueError, match="must") as refusal:
        get_critic_model(make(), arguments["config"], tokenizer=arguments["tokenizer"])
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_tokenizer_is_that_where_the_model_was_loaded_from_and_one_of_others_is_refused(tmp_path):
    tiny_masked_lm("bert").save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    assert get_critic_model(BertForMaskedLM.from_pretrained(tmp_path)).config.mask_token_id == TOKENIZER.mask_token_id
    swapped, remasked = framed_tokenizer(), framed_tokenizer()
    remasked.mask_token = "w3"
    vocabulary = json.loads(swapped.backend_tokenizer.to_str())
    words = vocabulary["model"]["vocab"]
    words["w3"], words["w4"] = words["w4"], words["w3"]
    swapped._tokenizer = Tokenizer.from_str(json.dumps(vocabulary))
    for other, what in ((swapped, "whose token 8 is 'w4'"), (remasked, "whose mask is 'w3'")):
        with pytest.raises(ValueError, match=rf"`tokenizer` must be that of the model, got one {what}"):
            get_critic_model(BertForMaskedLM.from_pretrained(tmp_path), CriticConfig(), other)


def test_what_a_tokenizer_of_bert_gives_is_taken_whole_and_a_second_text_is_refused(taught):
    model = taught
    given = TOKENIZER("w1 [MASK] w3", return_tensors="pt", return_token_type_ids=True)
    plain = {name: given[name] for name in ("input_ids", "attention_mask")}
    assert torch.equal(model.critic_scores(**given), model.critic_scores(**plain))
    drawn = [model.generate(**inputs, num_steps=2, seed=0).sequences for inputs in (given, plain)]
    assert torch.equal(*drawn)
    given["token_type_ids"][0, -1] = 1
    with pytest.raises(ValueError, match=r"`token_type_ids` must be 0 in generation.*join the texts"):
        model.generate(**given, num_steps=2)


def test_a_model_that_was_resized_says_so_wherever_it_is_asked():
    model = get_critic_model(tiny_masked_lm("bert"), tokenizer=TOKENIZER)
    model.resize_token_embeddings(50, pad_to_multiple_of=8)
    assert (model.backbone.vocab_size, model.config.drawable_vocab_size) == (56, 50)
    assert model.generate(torch.tensor([[1, 49, 4, 2]]), num_steps=1, seed=0).sequences[0, 1] == 49


@pytest.mark.parametrize("freeze", [True, False])
def test_a_model_made_with_another_padding_than_its_tokenizer_has_is_saved_with_its_own(tmp_path, freeze):
    tiny_masked_lm("roberta", pad_token_id=7).save_pretrained(tmp_path / "base")
    stock = AutoModelForMaskedLM.from_pretrained(tmp_path / "base")
    ids = torch.tensor([[1, 5, 9, 10, 2]])
    with torch.no_grad():
        logits = stock(ids).logits
    model = get_critic_model(stock, CriticConfig(freeze=freeze), tokenizer=TOKENIZER)
    for folder in (tmp_path / "once", tmp_path / "twice"):
        model.save_pretrained(folder)
        model = AutoModelForMaskedLMWithCritic.from_pretrained(folder)
        assert model.config.pad_token_id == TOKENIZER.pad_token_id and torch.equal(model(ids).logits, logits)
    if not freeze:
        assert torch.equal(AutoModelForMaskedLM.from_pretrained(folder)(ids).logits, logits)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    model = get_critic_model(tiny_masked_lm("roberta"), tokenizer=TOKENIZER)
    return trained_a_little(model, tmp_path_factory.mktemp("taught"))


NO_ROWS = [
    (["w1 w2", "w3 w4"], "got a str in row"),
    (torch.ones(4, 5, dtype=torch.long), "got a Tensor in row"),
    ([{"text": "w1"}, {"text": "w2"}], "got one with 'text'"),
    ([{"input_ids": [1, 5, 99, 2]}] * 3, r"`input_ids` must be ids in \[0, vocab_size = 40\), got some from 1 to 99"),
    ([{"input_ids": [1, *[5] * 80, 2]}] * 3, "`input_ids` must be at most 65 tokens, the longest sequence"),
]


@pytest.mark.parametrize(("rows", "message"), NO_ROWS)
def test_training_and_calibration_refuse_what_is_no_row_of_the_model_in_one_sentence(taught, rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        taught.calibrate(rows)
    args = CriticTrainingArguments(str(tmp_path), max_steps=1, report_to=[], use_cpu=True, remove_unused_columns=False)
    with pytest.raises(ValueError, match=message):
        CriticTrainer(taught, args, train_dataset=rows, processing_class=TOKENIZER).train()


def test_a_stream_to_calibrate_on_is_asked_for_as_a_list(taught):
    for stream in (iter([]), None, "w1 w2", torch.utils.data.DataLoader([1])):
        with pytest.raises(ValueError, match=r"`dataset` must be a list or a Dataset of rows"):
            taught.calibrate(stream)


def test_a_pipeline_of_a_model_without_a_critic_is_one_sentence():
    for task in ("critic-diffusion", "critic-proofread"):
        with pytest.raises(ValueError, match=r"`model` must be .*with a critic"):
            pipeline(task, model=tiny_masked_lm("bert"), tokenizer=TOKENIZER)


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
