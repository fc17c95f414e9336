# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about strategies from outside: who may register, and that they then work everywhere by name."""

import re
from pathlib import Path

import pytest
import torch
from denoising_steps import MASK, probabilities_of
from refusals import refused
from transformers import pipeline

from critic_gpt import CriticGPTGenerationConfig, register_strategy
from critic_gpt.evaluation.competitors import SHOOT_OUT, competitors, select_strategies
from critic_gpt.generation.declarations import SETTINGS, STRATEGIES
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.strategies.base import Strategy
from critic_gpt.generation.strategies.critic import Critic
from critic_gpt.generation.strategies.unmasking import PlainUnmasking
from critic_gpt.generation.values import Setting, number
from critic_gpt.scripts import calibrate, evaluate, explore, generate
from critic_gpt.scripts.document_settings import rendered


PAGE = (Path(__file__).parents[3] / "docs" / "GENERATION.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(from critic_gpt import register_strategy\n.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def registries():
    """Leaves the registries as they were."""
    before = dict(STRATEGIES), dict(SETTINGS)
    yield
    for registry, content in zip((STRATEGIES, SETTINGS), before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture
def module(tmp_path):
    """The example of the documentation as a file."""
    path = tmp_path / "my_strategies.py"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


@pytest.fixture
def model_dir(tiny_model, tokenizer, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_example_of_the_documentation_does_what_it_says_and_works_by_its_name(tiny_model, model_dir):
    model, ids = tiny_model(), torch.full((2, 12), MASK)
    old = CriticGPTGenerationConfig(num_steps=3)
    exec(EXAMPLE, {"__name__": "somewhere"})
    assert old.doubt_below is None, "of a setting that was not there when it was made"
    output = model.generate(ids, remasking="doubtful", doubt_below=0.3, num_steps=6, seed=0, return_history=True)
    assert not (output.sequences == MASK).any() and output.forward_passes == 6
    seen = 0
    for step in output.history[:-1]:
        likely = probabilities_of(model, step.input_ids).gather(-1, step.input_ids[..., None]).squeeze(-1)
        unlikely = (step.input_ids != MASK) & (likely < 0.3)
        assert torch.equal(step.remasked, unlikely)
        seen += int(unlikely.sum())
    assert seen > 5 and not output.history[-1].remasked.any()
    never = model.generate(ids, remasking="doubtful", doubt_below=0.0, num_steps=6, seed=0).sequences
    assert torch.equal(never, model.generate(ids, remasking="none", num_steps=6, seed=0).sequences)
    # Configurations, stored and resolved, and pipelines know it; others do not take its setting.
    assert model.resolve_generation_config(remasking="doubtful").doubt_below == 0.05
    stored = CriticGPTGenerationConfig(remasking="doubtful", doubt_below=0.2)
    stored.save_pretrained(model_dir)
    assert CriticGPTGenerationConfig.from_pretrained(model_dir).doubt_below == 0.2
    (text,) = pipeline("critic-diffusion", model=str(model_dir))(["ab[MASK]"], num_steps=2, seed=0)
    assert text["forward_passes"] == 2 and len(text["tokens"]) == 3
    with pytest.raises(ValueError, match=r"`doubt_below` must be in \[0, 1\], got 2: "):
        CriticGPTGenerationConfig(doubt_below=2)
    with pytest.raises(ValueError, match=r"`doubt_below` has no meaning for `remasking='critic'`, a one-pass "):
        model.generate(ids, remasking="critic", doubt_below=0.3)
    assert model.resolve_generation_config(remasking="critic", generation_config=old).doubt_below is None


def test_a_strategy_that_draws_in_a_way_of_its_own_takes_no_criteria_which_go_by_predictions(tiny_model):
    @register_strategy
    class OwnDraws(Strategy):
        name = "own_draws"

        def step(self, input_ids, step):
            chances = self.run.forward(input_ids).logits[..., :MASK].softmax(-1).max(-1)
            masked = self.editable & (input_ids == MASK)
            filled = torch.where(masked, chances.indices, input_ids)
            return StepOutcome(filled, self.nothing, filled, masked, chances.values)

    case = {"remasking": "own_draws", "num_steps": 2, "seed": 0}
    assert not (tiny_model().generate(torch.full((2, 6), MASK), **case).sequences == MASK).any()
    with refused("'own_draws'", "self.run.predict", start="`stopping_criteria` need the predictions of each step, "):
        tiny_model().generate(torch.full((2, 6), MASK), stopping_criteria=[lambda ids, scores: ids[:, 0] < 0], **case)


def test_the_scripts_import_a_module_of_strategies_first(tiny_model, module, model_dir):
    case = ["--model", str(model_dir), "--prompt", "[MASK]" * 8, "--num_steps", "3", "--seed", "0"]
    mine = ["--doubt_below", "0.4", "--remasking", "doubtful", "--strategy_module", str(module)]
    (result,) = generate.main([*case, *mine])
    (again,) = generate.main([*case, *mine])
    assert result == again and result["forward_passes"] == 3
    model = tiny_model()
    exact = model.generate(torch.full((1, 8), MASK), num_steps=3, seed=0, remasking="doubtful", doubt_below=0.4)
    assert exact.forward_passes == 3
    # It competes by its name, before ours.
    assert competitors() == {"doubtful": {"remasking": "doubtful"}, **SHOOT_OUT}
    assert select_strategies(model, ["doubtful"]) == ({"doubtful": {"remasking": "doubtful"}}, {})
    assert evaluate.evaluate_parser().parse_args(
        ["--model", "m", "--data_dir", "d", "--output_dir", "o", "--strategy_module", "a.py", "b"]
    ).strategy_module == ["a.py", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "`strategy_module` must be a file or module, got '.*', which is none: name a file that ends in .py, "),
        ("x = 1\n", "`strategy_module` must register a strategy, got '.*', which registers none: decorate its class "),
    ],
)
@pytest.mark.parametrize("script", [generate, evaluate, calibrate, explore])
def test_a_module_that_brings_no_strategy_is_refused(script, tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        script.main(["--model", "none", "--strategy_module", str(path)])


def made(base, called, /, **fields):
    return type(called, (base,), fields)


MINE = Setting("remdm_eta", number("[0, 1]"), "", of_strategies=True)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (dict, r"`strategy` must be a subclass of Strategy, got <class 'dict'>: "),
        ("critic", r"`strategy` must be a subclass of Strategy, got 'critic': "),
        (made(Strategy, "New"), r"`name` of New must be the text that `remasking` names it by, got None: "),
        *(
            (strategy, r"`name` of New must be one that no other strategy has, got 'critic', which is .*\.Critic: ")
            for strategy in (made(PlainUnmasking, "New", name="critic"), made(Critic, "New"))
        ),
        (made(Strategy, "New", name="auto"), r"`name` of New must be .* got 'auto', which is the choice "),
        (made(Strategy, "New", name="a", takes={"num_stepz": 3}), r"`takes` of New must name .*, got 'num_stepz': "),
        (
            made(Strategy, "New", name="a", settings=(MINE,)),
            r"`settings` of New must be new ones, got 'remdm_eta'",
        ),
    ],
)
def test_what_cannot_be_a_strategy_is_refused_and_leaves_no_trace(strategy, message):
    before = dict(STRATEGIES), dict(SETTINGS)
    with refused(match=message):
        register_strategy(strategy)
    assert before == (STRATEGIES, SETTINGS)


def test_a_class_may_register_again_and_its_definition_be_run_again(tiny_model):
    assert register_strategy(Critic) is Critic
    for _ in range(2):
        space = {"__name__": "notebook"}
        exec(EXAMPLE, space)
        assert STRATEGIES["doubtful"] is space["Doubtful"]
    with pytest.raises(ValueError, match=r"`name` of Doubtful must be one that no other strategy has"):
        exec(EXAMPLE, {"__name__": "another"})


def test_a_strategy_by_the_name_of_a_competitor_does_not_compete():
    register_strategy(made(PlainUnmasking, "Mine", name="entropy"))
    with pytest.raises(ValueError, match=r"`name` of Mine must be none that evaluation gives to others, got 'ent"):
        competitors()


def test_the_page_has_the_tables_of_the_declarations():
    assert rendered(PAGE) == PAGE, "run `python scripts/document_settings.py`"
    assert max(map(len, EXAMPLE.splitlines())) <= 119 and len(EXAMPLE.strip().splitlines()) <= 26
