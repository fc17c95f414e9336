# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about models whose weights are quantised as they are loaded, by whichever library is installed."""

import pytest
import torch
from transformers import QuantoConfig, TorchAoConfig, pipeline

from critic_gpt import CriticCalibration, CriticGPTForMaskedLM
from critic_gpt.calibration.histogram import CriticHistogram


IDS = torch.randint(2, 32, (64, 24), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["quanto", "torchao"])
def int8(request):
    """Makes the settings of int8 weights."""
    if request.param == "quanto":
        pytest.importorskip("optimum.quanto")
        return lambda **more: QuantoConfig(weights="int8", **more)
    torchao = pytest.importorskip("torchao")
    return lambda **more: TorchAoConfig(torchao.quantization.Int8WeightOnlyConfig(), **more)


@pytest.fixture
def folder(tmp_path, unsure_model, tokenizer):
    """A model with a table of ups and downs, so that neighbouring buckets differ."""
    model = unsure_model
    values = [(7 * bucket) % 100 / 100 for bucket in range(100)]
    model.calibration = CriticCalibration(values, {"fingerprint": model.fingerprint()})
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(folder, **options):
    return CriticGPTForMaskedLM.from_pretrained(folder, **options).eval()


def quantised(model):
    """Names of the modules whose weights are not plain numbers."""
    kinds = (torch.nn.Parameter, torch.Tensor)
    return {
        name.removesuffix(".weight") for name, weight in model.named_parameters() if type(weight.data) not in kinds
    }


def test_the_matrices_of_the_blocks_are_quantised_and_the_heads_are_not(folder, int8):
    model = load(folder, quantization_config=int8())
    matrices = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj")
    expected = {f"model.layers.{layer}.{name}" for layer in (0, 1) for name in (*matrices, "mlp.down_proj")}
    assert quantised(model) == expected
    assert model.has_trained_critic


def test_int8_weights_move_error_probabilities_little_and_seldom_what_is_masked_again(folder, int8):
    plain, small = load(folder), load(folder, quantization_config=int8())
    scores, moved = plain.critic_scores(IDS), small.critic_scores(IDS)
    distance = (torch.sigmoid(scores) - torch.sigmoid(moved)).abs()
    assert 0.0 < distance.mean() < 0.005 and distance.max() < 0.03
    chosen, others = (values.topk(2, dim=-1).indices.sort(dim=-1).values for values in (scores, moved))
    assert (chosen == others).all(dim=-1).float().mean() > 0.9


def test_the_table_of_the_stored_weights_serves_them_quantised_and_says_so(folder, int8, warnings):
    plain, small = load(folder), load(folder, quantization_config=int8())
    assert small.calibration.probabilities == plain.calibration.probabilities
    assert small.fingerprint() != plain.fingerprint()
    assert small.calibration.metadata == {
        "fingerprint": small.fingerprint(),
        "measured_before_quantisation": plain.fingerprint(),
    }
    assert not warnings


def test_a_table_of_other_weights_is_refused_for_quantised_ones_too(folder, int8, warnings):
    CriticCalibration.load(folder).with_metadata(fingerprint="0" * 64).save(folder)
    assert load(folder, quantization_config=int8()).calibration is None
    (text,) = set(warnings)
    assert "other weights" in text and "calibrate again" in text


def test_the_shards_of_a_large_model_are_read_for_their_fingerprint(tmp_path, folder, int8):
    plain = load(folder)
    plain.save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    small = load(tmp_path / "shards", quantization_config=int8())
    assert small.calibration.probabilities == plain.calibration.probabilities


def test_a_quantised_model_generates_in_a_pipeline_with_its_table(folder, int8):
    pipe = pipeline("critic-diffusion", model=str(folder), model_kwargs={"quantization_config": int8()})
    assert quantised(pipe.model) and pipe.model.calibration is not None
    result = pipe(None, max_new_tokens=8, num_steps=3, seed=1)
    assert len(result["generated_text"]) == 8
    again = pipe(None, max_new_tokens=8, num_steps=3, seed=1)
    assert again["generated_text"] == result["generated_text"]


def test_a_table_measured_on_quantised_weights_is_theirs_alone(folder, int8):
    plain, small = load(folder), load(folder, quantization_config=int8())
    histogram = CriticHistogram()
    histogram.update(small.critic_scores(IDS), (IDS % 2).float(), torch.ones_like(IDS).bool())
    small.calibration = histogram.fit(metadata={"fingerprint": small.fingerprint()})
    assert small.calibration.matches(small.fingerprint()) and not small.calibration.matches(plain.fingerprint())
    small.save_calibration(folder)
    assert load(folder).calibration is None
    assert load(folder, quantization_config=int8()).calibration == small.calibration


def test_a_quantised_model_is_saved_small_and_comes_back_with_scores_and_table(tmp_path, folder):
    torchao = pytest.importorskip("torchao")  # Transformers does not save what quanto quantised
    settings = TorchAoConfig(torchao.quantization.Int8WeightOnlyConfig())
    small = load(folder, quantization_config=settings)
    small.save_pretrained(tmp_path / "small")
    sizes = [(place / "model.safetensors").stat().st_size for place in (folder, tmp_path / "small")]
    assert sizes[1] < sizes[0]
    again = load(tmp_path / "small")
    assert quantised(again) == quantised(small)
    assert torch.equal(again.critic_scores(IDS), small.critic_scores(IDS))
    assert again.calibration == small.calibration
