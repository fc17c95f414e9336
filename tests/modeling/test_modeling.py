# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the models: the critic, outputs, the Auto classes."""

import json
import logging

import pytest
import torch
from tiny_models import LENGTH, MASK, build, build_with_critic, count_trunk_passes, make_batch, make_draws
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from critic_gpt import (
    CriticCalibration,
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
)
from critic_gpt.modeling_critic_gpt import CriticGPTPreTrainedModel


@pytest.fixture
def warnings_seen():
    """Texts of all warnings of Transformers and of ours."""
    seen = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("transformers", "critic_gpt")]
    for logger in loggers:
        logger.addHandler(handler)
    yield seen
    for logger in loggers:
        logger.removeHandler(handler)


# ---- no critic, no trace of one ----


class PlainMaskedLM(CriticGPTPreTrainedModel):
    """The same trunk and LM head, written without knowledge of any critic."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = CriticGPTModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask, labels):
        logits = self.lm_head(self.model(input_ids, attention_mask).last_hidden_state)
        allowed = logits.index_fill(-1, torch.tensor([MASK]), float("-inf"))
        token_loss = nn.functional.cross_entropy(allowed.flatten(0, 1), labels.flatten(), reduction="none")
        return token_loss.sum() / (labels != -100).sum(), logits


@pytest.mark.parametrize("tied", [True, False])
def test_without_a_critic_everything_is_bit_identical_to_a_model_that_never_heard_of_one(tied):
    changes = {"tie_word_embeddings": tied, "hidden_dropout": 0.2, "attention_dropout": 0.2}
    plain = build(PlainMaskedLM, **changes)
    state_after_plain = torch.get_rng_state()
    ours = build(**changes)
    assert torch.equal(torch.get_rng_state(), state_after_plain)
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in plain.state_dict().items())
    batch = make_batch()
    torch.manual_seed(5)
    loss, logits = plain.train()(**batch)
    state_after_plain = torch.get_rng_state()
    torch.manual_seed(5)
    output = ours.train()(**batch)
    assert torch.equal(torch.get_rng_state(), state_after_plain)
    assert torch.equal(output.logits, logits) and torch.equal(output.loss, loss)
    loss.backward()
    output.loss.backward()
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    assert output.critic_logits is None and output.critic_loss is None
    assert set(output) == {"loss", "logits", "lm_loss", "lm_token_loss"}


LINEAR = {"critic_head.weight"}
MLP = {"critic_head.dense.weight", "critic_head.output.weight"}
each_head = pytest.mark.parametrize(("head", "names"), [("linear", LINEAR), ("mlp", MLP)], ids=["linear", "mlp"])


@pytest.mark.parametrize("tied", [True, False])
@each_head
def test_the_same_seed_gives_the_same_other_parameters_with_a_critic(head, names, tied):
    without = build(tie_word_embeddings=tied)
    state_after = torch.get_rng_state()
    with_critic = build(tie_word_embeddings=tied, add_critic_head=True, critic_head_type=head)
    assert torch.equal(torch.get_rng_state(), state_after)
    states = with_critic.state_dict()
    assert set(states) - set(without.state_dict()) == names
    assert all(torch.equal(tensor, states[name]) for name, tensor in without.state_dict().items())
    batch = make_batch()
    one, other = without(**batch), with_critic(**batch)
    assert torch.equal(one.logits, other.logits) and torch.equal(one.lm_loss, other.lm_loss)


def test_a_fresh_critic_is_exactly_zero_and_not_trained():
    model = build(add_critic_head=True)
    assert model.critic_head.weight.shape == (1, 16) and not model.critic_head.weight.any()
    assert not model.critic_head.weight.is_meta and model.critic_head.weight.requires_grad
    assert model.has_trained_critic is False
    assert build().has_trained_critic is False
    assert build_with_critic().has_trained_critic is True


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_fresh_hidden_layer_is_drawn_like_other_weights_and_its_critic_says_one_half(use_bias):
    fields = {"add_critic_head": True, "critic_head_type": "mlp", "hidden_size": 64, "use_bias": use_bias}
    model = build(**fields)
    dense = model.critic_head.dense
    assert dense.weight.std().item() == pytest.approx(0.3, rel=0.05) and dense.weight.mean().abs() < 0.02
    assert (dense.bias is not None) is use_bias and (dense.bias is None or not dense.bias.any())
    assert not model.critic_head.output.weight.any() and model.has_trained_critic is False
    assert (model(make_batch()["input_ids"]).critic_logits == 0).all()
    assert torch.equal(dense.weight, build(**fields).critic_head.dense.weight)
    assert not torch.equal(dense.weight, build(seed=1, **fields).critic_head.dense.weight)
    with torch.no_grad():
        model.critic_head.output.weight[0, 3] = 1e-3
    assert model.has_trained_critic is True


def test_the_hidden_layer_is_not_what_is_drawn_next():
    model = build(add_critic_head=True, critic_head_type="mlp", initializer_range=1.0)
    following = torch.randn(16, 16)
    correlation = (model.critic_head.dense.weight * following).mean()
    assert correlation.abs() < 0.3


def test_an_mlp_critic_is_two_layers_around_the_activation():
    model = build_with_critic(critic_head_type="mlp", use_bias=True, hidden_act="relu")
    ids = make_batch()["input_ids"]
    states, head = model.model(ids).last_hidden_state, model.critic_head
    hidden = torch.relu(states @ head.dense.weight.T + head.dense.bias)
    torch.testing.assert_close(model(ids).critic_logits, (hidden @ head.output.weight.T).squeeze(-1))
    assert build_with_critic(critic_head_type="mlp").num_parameters() == build().num_parameters() + 16 * 16 + 16


def test_the_critic_is_announced_with_its_weight_and_only_where_it_is(caplog):
    with caplog.at_level(logging.INFO, logger="critic_gpt.modeling_critic_gpt"):
        build()
        assert not caplog.records
        build(add_critic_head=True, critic_alpha=0.25)
    assert [record.getMessage() for record in caplog.records] == ["Critic head on, critic_alpha = 0.25."]


@pytest.mark.parametrize(("before", "head"), [(None, "linear"), (None, "mlp"), ("linear", "mlp"), ("mlp", "linear")])
def test_a_checkpoint_without_such_a_critic_gains_a_fresh_head_that_is_reported_missing(
    tmp_path, warnings_seen, before, head
):
    names = MLP if head == "mlp" else LINEAR
    old = build() if before is None else build_with_critic(critic_head_type=before)
    old.save_pretrained(tmp_path)
    fields = {"add_critic_head": True, "critic_head_type": head}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, **fields, output_loading_info=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert info["missing_keys"] == names and not info["unexpected_keys"]
    assert all(any(name in text for text in warnings_seen) for name in names)
    assert loaded.has_trained_critic is False and loaded.config.critic_head_type == head
    ids = make_batch()["input_ids"]
    assert torch.equal(loaded(ids).logits, old(ids).logits) and not loaded(ids).critic_logits.any()
    if head == "mlp":
        assert loaded.critic_head.dense.weight.std() > 0.2


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_checkpoint_with_a_critic_loads_without_one_and_without_a_word(tmp_path, warnings_seen, head):
    model = build_with_critic(critic_head_type=head)
    model.save_pretrained(tmp_path)
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, add_critic_head=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert not warnings_seen
    assert loaded.critic_head is None
    ids = make_batch()["input_ids"]
    assert torch.equal(loaded(ids).logits, model(ids).logits)


# ---- critic_scores ----


def test_critic_scores_are_the_critic_logits_of_one_pass_without_gradients():
    model = build_with_critic()
    batch = make_batch()
    passes = count_trunk_passes(model)
    scores = model.critic_scores(batch["input_ids"], batch["attention_mask"])
    assert len(passes) == 1
    assert scores.shape == batch["input_ids"].shape and not scores.requires_grad
    assert torch.equal(scores, model(batch["input_ids"], batch["attention_mask"]).critic_logits)


def test_critic_scores_without_a_head_name_the_flag():
    with pytest.raises(ValueError, match=r"`add_critic_head` must be True for critic scores, got False: .*\.$"):
        build().critic_scores(make_batch()["input_ids"])


# ---- outputs, precision, compilation ----


def test_the_loss_comes_first_in_a_tuple_and_the_order_is_that_of_the_fields():
    model = build_with_critic()
    arguments = {**make_batch(), **make_draws()}
    output = model(**arguments)
    names = list(output)
    assert names[:2] == ["loss", "logits"]
    assert names == [name for name in output.__dataclass_fields__ if name in output]
    as_tuple = model(**arguments, return_dict=False)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == len(names)
    assert all(torch.equal(one, other) for one, other in zip(as_tuple, output.to_tuple(), strict=True))


@pytest.mark.parametrize(
    "cls",
    [CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification],
)
def test_a_configuration_that_asks_for_tuples_gets_them(cls):
    model = build(cls, return_dict=False, add_critic_head=True)
    batch = make_batch()
    assert isinstance(model(batch["input_ids"], batch["attention_mask"]), tuple)
    if cls is CriticGPTForMaskedLM:
        assert isinstance(model(**batch), tuple)
        assert model.critic_scores(batch["input_ids"]).shape == (3, LENGTH)


def test_what_the_trainer_should_not_gather_is_listed():
    output = build_with_critic(remaining_alpha=1.0)(**make_batch(), **make_draws())
    listed = set(CriticGPTConfig.keys_to_ignore_at_inference)
    assert set(output) - listed == {"loss", "logits"}
    assert listed <= set(output.__dataclass_fields__)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_stays_finite_and_its_losses_are_float32(training):
    model = build_with_critic().to(torch.bfloat16).train(training)
    output = model(**make_batch(), **make_draws())
    assert output.logits.dtype == output.critic_logits.dtype == torch.bfloat16
    for name in ("loss", "lm_loss", "critic_loss", "correction_loss", "critic_token_loss"):
        assert output[name].dtype == torch.float32 and torch.isfinite(output[name]).all(), name
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    reference = build_with_critic()(**make_batch(), **make_draws())
    torch.testing.assert_close(output.lm_loss, reference.lm_loss, atol=0.1, rtol=0.05)


RECIPE = {"critic_head_type": "mlp", "remaining_alpha": 0.5, "critic_regime": "partial", "critic_fill_exponent": 2.0}


@pytest.mark.parametrize("fields", [RECIPE, {"critic_detach": True, "correction_alpha": 0.0, "add_joint_head": True}])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_every_recipe_compiles_into_one_graph_with_the_same_gradients(fields, share):
    results = []
    for compiled in (False, True):
        model = build_with_critic(**fields).train()
        torch.compiler.reset()
        call = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
        batch = make_batch()
        given_mask = torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(5)) < 0.4
        output = call(**batch, **make_draws(), given_mask=given_mask, critic_batch_share=share)
        output.loss.backward()
        results.append((output, {name: parameter.grad for name, parameter in model.named_parameters()}))
    (eager, gradients), (compiled, others) = results
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, msg=name)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_models_with_other_weights_of_their_losses_compile_in_one_process():
    # Of a second value torch.compile makes a symbol, which not every expression may hold.
    torch.compiler.reset()
    for correction, remaining in ((0.1, 0.0), (0.25, 0.0), (0.3, 0.1), (0.0, 0.2), (0.0, 0.0)):
        model = build_with_critic(correction_alpha=correction, remaining_alpha=remaining, critic_detach=True).train()
        arguments = {**make_batch(), **make_draws()}
        expected = model(**arguments)
        output = torch.compile(model, fullgraph=True, backend="eager")(**arguments)
        assert list(output) == list(expected)
        torch.testing.assert_close(output.loss, expected.loss)


def test_training_without_given_draws_compiles_into_one_graph():
    model = build_with_critic().train()
    torch.compiler.reset()
    output = torch.compile(model, fullgraph=True, backend="eager")(**make_batch())
    output.loss.backward()
    assert torch.isfinite(output.loss) and model.critic_head.weight.grad.any()


# ---- the Auto classes ----


@pytest.mark.parametrize(
    ("auto", "cls"),
    [
        (AutoModel, CriticGPTModel),
        (AutoModelForMaskedLM, CriticGPTForMaskedLM),
        (AutoModelForTokenClassification, CriticGPTForTokenClassification),
        (AutoModelForSequenceClassification, CriticGPTForSequenceClassification),
    ],
)
def test_the_auto_classes_load_the_same_weights(auto, cls, tmp_path, warnings_seen):
    model = build(cls, num_labels=1, add_critic_head=True, critic_head_type="mlp")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)
    model.save_pretrained(tmp_path)
    loaded, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is cls and not warnings_seen
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_trunk_of_a_language_model_serves_the_other_heads(tmp_path):
    model = build_with_critic()
    model.save_pretrained(tmp_path)
    for auto in (AutoModel, AutoModelForTokenClassification, AutoModelForSequenceClassification):
        trunk = auto.from_pretrained(tmp_path).base_model
        expected = model.model.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in trunk.state_dict().items())


# ---- calibration beside the weights ----


def calibrated(**changes) -> CriticGPTForMaskedLM:
    model = build_with_critic(**changes)
    table = CriticCalibration([0.3 + 0.005 * i for i in range(100)], {"source": "a test"})
    model.calibration = table.with_metadata(fingerprint=model.fingerprint())
    return model


def test_without_a_table_there_is_none_and_no_file_and_only_the_main_process_writes(tmp_path, warnings_seen):
    calibrated().save_pretrained(tmp_path, is_main_process=False)
    assert not list(tmp_path.glob("calibration.json"))
    build_with_critic().save_pretrained(tmp_path)
    assert not (tmp_path / "calibration.json").exists()
    assert CriticGPTForMaskedLM.from_pretrained(tmp_path).calibration is None
    assert build().calibration is None and not warnings_seen


@pytest.mark.parametrize("text", ["{", '{"model.safetensors": [0.5]}', "[]"])
def test_a_corrupt_table_is_a_clear_error(tmp_path, text):
    calibrated().save_pretrained(tmp_path)
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ValueError, match=r"calibration\.json.*must .*calibrate again"):
        CriticGPTForMaskedLM.from_pretrained(tmp_path)


def test_loading_information_a_subfolder_and_a_variant_find_the_right_table(tmp_path):
    models = {variant: calibrated(seed=seed) for seed, variant in enumerate([None, "ema"])}
    for variant, model in models.items():
        model.save_pretrained(tmp_path / "inner", variant=variant)
    document = json.loads((tmp_path / "inner" / "calibration.json").read_text())
    assert set(document) == {"model.safetensors", "model.ema.safetensors", "__metadata__"}
    for variant, model in models.items():
        loaded, info = CriticGPTForMaskedLM.from_pretrained(
            tmp_path, subfolder="inner", variant=variant, output_loading_info=True
        )
        assert not info["missing_keys"]
        assert loaded.calibration == model.calibration
        assert loaded.fingerprint() == model.fingerprint()


def test_a_state_dict_is_saved_as_given_by_position_as_in_transformers(tmp_path):
    model = calibrated()
    changed = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, True, changed)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert not any(parameter.any() for parameter in loaded.parameters())
