# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import pytest
import torch

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.explorer import CollatorAtMaskRate, Explorer
from critic_gpt.tasks import SudokuTask, build_character_tokenizer


ROWS = [{"input_ids": [2 + (row + place) % 30 for place in range(12)]} for row in range(4)]


@pytest.fixture
def explorer(tiny_model, tokenizer):
    return Explorer(tiny_model(), tokenizer, {"validation": ROWS, "test": []})


def test_the_masks_are_those_of_evaluation(explorer, tokenizer):
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime="mixed", seed=1, evaluation=True)
    batch = collator([{**ROWS[index], "example_id": index} for index in range(4)])
    for index in range(4):
        mine = explorer.corrupted(index, "validation", None, 1)
        assert mine.keys() == batch.keys()
        assert all(torch.equal(mine[name], batch[name][index : index + 1]) for name in batch)


def test_a_higher_mask_rate_adds_masks_and_moves_none(explorer, tokenizer):
    before = torch.zeros((1, 12), dtype=torch.bool)
    for rate in (0.1, 0.4, 0.7, 1.0):
        masked = explorer.corrupted(0, "validation", rate, 5)["input_ids"] == tokenizer.mask_token_id
        assert bool((masked | ~before).all())
        before = masked
    assert before.all()


def test_a_mask_rate_of_one_weighs_every_token_once(tokenizer):
    collator = CollatorAtMaskRate(tokenizer, mask_rate=1.0).for_evaluation()
    assert collator(ROWS)["loss_weights"].eq(1.0).all() and collator.mask_rate == 1.0


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5])
def test_a_mask_rate_out_of_range_is_refused(explorer, rate):
    with pytest.raises(ValueError, match=r"`mask_rate` must be in \(0, 1\]"):
        explorer.corrupted(0, "validation", rate, 0)


def test_only_splits_with_examples_count(explorer):
    assert explorer.split_names() == ["validation"]
    with pytest.raises(ValueError, match="`split` must be one of validation, got 'test'"):
        explorer.example(0, "test")


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_out_of_range_is_refused(explorer, index):
    with pytest.raises(ValueError, match=r"`index` must be in \[0, 4\)"):
        explorer.example(index, "validation")


def test_without_data_samples_are_refused_in_one_sentence(tiny_model, tokenizer):
    with pytest.raises(ValueError, match="`data_dir` must be given"):
        Explorer(tiny_model(), tokenizer).example(0, "validation")


def test_a_tokenizer_of_another_model_and_an_unknown_regime_are_refused(tiny_model, tokenizer):
    with pytest.raises(ValueError, match="`tokenizer` must be the one the model was trained with"):
        Explorer(tiny_model(vocab_size=16), tokenizer)
    with pytest.raises(ValueError, match="`critic_regime` must be one of"):
        Explorer(tiny_model(), tokenizer, critic_regime="most")


def test_the_model_is_put_into_eval_mode(tiny_model, tokenizer):
    model = tiny_model().train()
    Explorer(model, tokenizer)
    assert not model.training


def test_a_grid_has_the_width_of_its_task_and_a_text_none(explorer, tiny_model):
    task = SudokuTask(size=4)
    assert explorer.row_width is None
    assert Explorer(tiny_model(), build_character_tokenizer("1234", 16), task=task).row_width == 4


def test_a_text_must_fit_the_model(explorer):
    assert explorer.encoded("ab[MASK]").tolist() == [explorer.tokenizer("ab[MASK]")["input_ids"]]
    for text in ("", "a" * 49):
        with pytest.raises(ValueError, match="`text` must have 1 to 48 tokens"):
            explorer.encoded(text)


def test_an_untrained_critic_judges_nothing(tiny_model, tokenizer):
    model = tiny_model()
    model.critic_head.reset_parameters()
    for silent in (model, tiny_model(add_critic_head=False)):
        with pytest.raises(ValueError, match="`model` must have a trained critic"):
            Explorer(silent, tokenizer).critic_logits(torch.tensor([[2, 3]]))


def test_ids_that_the_tokenizer_does_not_know_stand_in_brackets(tiny_model, tokenizer):
    explorer = Explorer(tiny_model(vocab_size=40), tokenizer)
    assert explorer.text_of(tokenizer.convert_tokens_to_ids("a")) == "a" and explorer.text_of(35) == "<35>"
