# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
from critic_gpt.calibration.fingerprint import stored_files, stored_fingerprint


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
