# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A critic on a real, frozen model: docs/ANY_MODEL.md does what it says, and its critic is calibrated and useful."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from critic_gpt.backbones.description import Backbone
from critic_gpt.evaluation.metrics import calibration_report
from critic_gpt.evaluation.planting import plant_errors
from critic_gpt.evaluation.row_forms import SpecialTokens
from critic_gpt.evaluation.scoring import judge_fillings
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


sys.path.insert(0, str(Path(__file__).parent))
import heavy_critic
import real_models


real_models.skip_without_them()

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "ANY_MODEL.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> dict[str, Any]:
    """What docs/ANY_MODEL.md has made, run as it is written."""
    folder, before = tmp_path_factory.mktemp("any_model"), Path.cwd()
    (folder / "build").mkdir()
    (folder / "build" / "real_models").symlink_to(real_models.FOLDER)
    names: dict[str, Any] = {}
    os.chdir(folder)
    try:
        torch.manual_seed(0)
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(block, names)
    finally:
        os.chdir(before)
    names["model"].eval()
    return names


@pytest.fixture(scope="module")
def collator(page):
    """Masks test chains as in evaluation."""
    config = page["model"].config
    return DataCollatorForMaskedDiffusion(SpecialTokens.of(config), seed=1, backbone=Backbone.of(config))


def test_most_of_thirty_masked_residues_come_back(page):
    found, chain, holes = page["found"], page["chain"], page["holes"]
    assert len(holes) == 30 and len(found) == len(chain)
    assert all(found[place] == chain[place] for place in range(len(chain)) if place not in holes)
    assert sum(found[place] == chain[place] for place in holes) >= 20


def test_three_planted_residues_are_found_and_what_was_there_is_suggested(page):
    spans, chain = {span["start"]: span for span in page["result"]["spans"]}, page["chain"]
    assert {19, 36, 81} <= spans.keys() and len(spans) <= 6
    assert sum(spans[place]["replacement"] == chain[place] for place in (19, 36, 81)) >= 2


def test_the_folder_of_a_critic_on_a_frozen_model_holds_none_of_its_weights(page, tmp_path):
    page["model"].save_pretrained(tmp_path)
    weights = [path for path in tmp_path.iterdir() if path.suffix in (".safetensors", ".bin")]
    assert [path.name for path in weights] == ["critic_head.safetensors"]
    assert weights[0].stat().st_size < 20_000


def test_error_probabilities_of_new_chains_are_calibrated(page, collator):
    judged = judge_fillings(page["model"], heavy_critic.rows("test"), collator, 200)
    report = calibration_report(judged.critic_logits, judged.critic_target, page["model"].calibration)["after"]
    assert report["ece"] <= 0.02
    assert report["auroc"] >= 0.96


def test_the_critic_is_not_behind_confidence_order_at_four_passes(page):
    shares = {"critic": [], "confidence": []}
    for rate in (0.3, 0.5, 0.7):
        canvas = heavy_critic.canvases("test", 0, 64, rate, seed=1)
        for name, settings in (
            ("critic", {"remasking": "critic"}),
            ("confidence", {"unmasking": "confidence", "remasking": "none"}),
        ):
            arguments = {"temperature": 0.0, **settings}
            shares[name].append(heavy_critic.right_share(page["model"], canvas, 4, arguments, seed=1))
    assert sum(shares["critic"]) >= sum(shares["confidence"])


# About half of what is planted is the residue that was there: 1, 2 and 5 % are wrong.
@pytest.mark.parametrize("rate", [0.018, 0.037, 0.093])
def test_as_many_errors_are_expected_as_were_planted(page, rate):
    expected, actual = errors_expected_and_planted(page["model"], rate)
    assert expected == pytest.approx(actual, rel=0.2)


def test_less_than_one_error_is_expected_in_a_genuine_chain(page):
    expected, actual = errors_expected_and_planted(page["model"], rate=1e-9)
    assert actual == 0
    assert expected / 200 < 1.0


def errors_expected_and_planted(model, rate: float, count: int = 200) -> tuple[float, int]:
    """How many residues of test chains proofreading expects to be wrong, and how many were made so."""
    canvas = heavy_critic.canvases("test", 0, count, 0.0, seed=0)
    special = torch.tensor(heavy_critic.tokenizer().all_special_ids)
    editable = ~torch.isin(canvas.truth, special)
    numbers = torch.arange(count)
    planted = plant_errors(model, canvas.truth, canvas.attention_mask, editable, numbers, rate, seed=5)
    texts = [row[mask] for row, mask in zip(planted.input_ids, editable, strict=True)]
    proofs = model.proofread(texts, batch_size=32, top_k=0)
    return sum(float(proof.error_probabilities.sum()) for proof in proofs), int(planted.wrong.sum())
