# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about fingerprints, which tell weights apart."""

import torch

from critic_gpt.calibration.fingerprint import stored_files, stored_fingerprint, weights_fingerprint


def test_files_of_weights_have_the_fingerprint_of_their_model(tmp_path, tiny_model):
    model = tiny_model()
    for name, options in {"whole": {}, "shards": {"max_shard_size": "5KB"}}.items():
        model.save_pretrained(tmp_path / name, **options)
        model.save_pretrained(tmp_path / name, variant="best", **options)
        for variant in (None, "best"):
            files = stored_files(tmp_path / name, variant)
            assert (len(files) > 1) == (name == "shards")
            assert all(("best" in file) == (variant == "best") for file in files)
            assert stored_fingerprint(tmp_path / name, variant) == model.fingerprint()


def test_a_folder_without_weights_has_no_fingerprint(tmp_path, tiny_model):
    tiny_model().config.save_pretrained(tmp_path)
    assert stored_files(tmp_path) == [] and stored_fingerprint(tmp_path) is None


def some_weights():
    generator = torch.Generator().manual_seed(0)
    return {"head.weight": torch.randn(3, 5, generator=generator), "embed": torch.randn(200, 50, generator=generator)}


def test_fingerprint_ignores_precision_order_wrappers_and_memory_layout():
    weights = some_weights()
    expected = weights_fingerprint(weights)
    assert len(expected) == 64
    assert weights_fingerprint({name: value.bfloat16() for name, value in weights.items()}) == expected
    assert weights_fingerprint(reversed(weights.items())) == expected
    assert weights_fingerprint({f"module._orig_mod.{name}": value for name, value in weights.items()}) == expected
    assert weights_fingerprint({name: value.T.contiguous().T for name, value in weights.items()}) == expected


def test_fingerprint_notices_a_training_step_a_name_and_a_shape():
    weights = some_weights()
    changed = [
        {name: value * 1.02 for name, value in weights.items()},
        {name.replace("embed", "wte"): value for name, value in weights.items()},
        {name: value.T.reshape(value.shape[::-1]) for name, value in weights.items()},
        {"embed": weights["embed"]},
    ]
    prints = [weights_fingerprint(each) for each in (weights, *changed)]
    assert len(set(prints)) == 5


def test_fingerprint_of_weights_on_the_meta_device_is_unknown():
    assert weights_fingerprint({**some_weights(), "late": torch.empty(2, device="meta")}) is None


def test_fingerprint_takes_scalars_empty_tensors_and_integer_buffers():
    odd = {"scalar": torch.tensor(1.0), "empty": torch.empty(0, 3), "steps": torch.arange(5)}
    assert weights_fingerprint(odd) == weights_fingerprint(odd.items())
