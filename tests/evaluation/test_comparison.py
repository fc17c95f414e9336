# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the comparison of ways of generating at equal forward passes."""

import functools
import statistics

import pytest
import torch
from sentences import one_sentence

from critic_gpt import CriticCalibration
from critic_gpt.evaluation import (
    DEFAULT_COMPETITORS,
    GRIDS,
    SHOOT_OUT,
    Tuning,
    compare_strategies,
    figures_of,
    select_strategies,
)
from critic_gpt.evaluation.comparison import over_seeds
from critic_gpt.evaluation.competitors import named
from critic_gpt.evaluation.held_out_figures import score_by
from critic_gpt.generation.strategies.registry import STRATEGIES


class FakeTask:
    """Remembers what it judged."""

    sequence_length = 9

    def __init__(self):
        self.judged = []

    def judge(self, texts):
        self.judged.append(list(texts))
        return {"first_letter": float(len(self.judged)), "num_samples": len(texts)}


class LetterTask(FakeTask):
    """The more of the letter e, the better."""

    def judge(self, texts):
        super().judge(texts)
        return {"letters": "".join(texts).count("e") / sum(map(len, texts))}


CRITIC = {"critic": {"remasking": "critic"}}
MANY = {"critic": [{"remasking": "critic", "remask_per_step": k} for k in (0, 1, 2, 3)]}


def compare(model, tokenizer, *args, task=None, **kwargs):
    return compare_strategies(model, tokenizer, task or FakeTask(), *args, **{"num_samples": 5, **kwargs})


# ---- budgets ----


def test_every_strategy_gets_the_most_steps_that_the_budget_allows(tiny_model, tokenizer):
    strategies = {
        **DEFAULT_COMPETITORS,
        "both": {"remasking": "critic_full"},
        "more": {"remasking": "proseco", "corrector_interval": 2, "corrector_steps": 1},
        "four": {"remasking": "critic", "num_candidates": 4},
    }
    table = compare(tiny_model(), tokenizer, [1, 4, 9], strategies)

    def taken(name):
        return {b: cell and (cell["num_steps"], cell["forward_passes"]) for b, cell in table[name].items()}

    for name in DEFAULT_COMPETITORS:
        assert taken(name) == {"1": (1, 1), "4": (4, 4), "9": (9, 9)}
    assert taken("both") == {"1": (1, 1), "4": (2, 3), "9": (5, 9)}
    assert taken("more") == {"1": (1, 1), "4": (3, 4), "9": (6, 9)}
    # Not even one step of four candidates fits into a budget of one; the verdict on them counts as well.
    assert table["four"]["1"] is None


def test_every_strategy_that_there_is_keeps_to_every_budget(tiny_model, tokenizer):
    model = tiny_model(add_joint_head=True)
    strategies, left_out = select_strategies(model, ["all"])
    assert list(strategies) == list(SHOOT_OUT) and not left_out
    table = compare(model, tokenizer, [2, 7], strategies, num_samples=3)
    for name, row in table.items():
        for budget, cell in row.items():
            most = int(budget)
            assert 1 <= cell["mean_forward_passes"] <= cell["forward_passes"] <= most, name
            arguments = {**cell["arguments"], "num_steps": cell["num_steps"]}
            config = model.resolve_generation_config(**arguments)
            strategy = STRATEGIES[config.remasking]
            assert strategy.forward_passes(cell["num_steps"], config) <= most
            assert strategy.forward_passes(cell["num_steps"] + 1, config) > most, name


def test_more_passes_than_the_budget_are_an_error(tiny_model, tokenizer, monkeypatch):
    monkeypatch.setattr(STRATEGIES["critic"], "steps_within", classmethod(lambda cls, budget, config: budget + 1))
    with pytest.raises(RuntimeError, match="took 4 forward passes of a budget of 3"):
        compare(tiny_model(), tokenizer, [3], CRITIC)


# ---- cells ----


def test_a_cell_holds_figures_of_the_judge_over_the_seeds(tiny_model, tokenizer):
    task = FakeTask()
    table = compare(tiny_model(), tokenizer, [2, 3], CRITIC, task=task, seeds=[5, 6, 7])
    cell = table["critic"]["2"]
    assert set(cell) == {"num_steps", "forward_passes", "mean_forward_passes", "seconds", "arguments", "figures"}
    assert cell["figures"]["first_letter"] == {"mean": 2.0, "spread": 1.0, "by_seed": [1.0, 2.0, 3.0]}
    assert cell["figures"]["num_samples"] == {"mean": 5, "spread": 0.0, "by_seed": [5, 5, 5]}
    assert cell["arguments"] == {"temperature": 1.0, "remasking": "critic"} and cell["seconds"] > 0
    assert [len(texts) for texts in task.judged] == [5] * 6
    assert len({tuple(texts) for texts in task.judged}) == 6
    assert all(len(text) == 9 for texts in task.judged for text in texts)


def test_a_single_seed_has_no_spread():
    assert over_seeds([0.25]) == {"mean": 0.25, "spread": None, "by_seed": [0.25]}
    assert over_seeds([0.25, 0.5])["spread"] == pytest.approx(statistics.stdev([0.25, 0.5]))


def test_the_same_seed_gives_the_same_cell_whatever_else_is_compared(tiny_model, tokenizer):
    model = tiny_model(position_embedding_type="absolute").double()
    task, other = FakeTask(), FakeTask()
    compare(model, tokenizer, [3], CRITIC, task=task, seeds=[2], batch_size=2)
    compare(model, tokenizer, [2, 3], {**DEFAULT_COMPETITORS}, task=other, seeds=[1, 2])
    assert task.judged[0] == other.judged[-1]


def test_figures_turn_the_table_round_and_leave_out_what_did_not_fit(tiny_model, tokenizer):
    strategies, told = {**CRITIC, "four": {"remasking": "critic", "num_candidates": 4}}, []
    on_cell = {"on_cell": lambda *cell: told.append(cell)}
    table = compare(tiny_model(), tokenizer, [2, 9], strategies, seeds=[1, 2], **on_cell)
    # Cells are told as they come.
    expected = [
        ("critic", 2, table["critic"]["2"]),
        ("critic", 9, table["critic"]["9"]),
        ("four", 9, table["four"]["9"]),
    ]
    assert [cell for cell in told if cell[2] is not None] == expected
    assert figures_of(table)["num_samples"] == {"critic": {"2": 5, "9": 5}, "four": {"9": 5}}
    assert figures_of(table, "by_seed")["first_letter"]["critic"] == {"2": [1.0, 2.0], "9": [3.0, 4.0]}


def test_given_canvases_are_filled_each_once(tiny_model, tokenizer):
    canvases = torch.full((3, 6), tokenizer.mask_token_id)
    canvases[:, 0] = torch.tensor(tokenizer.convert_tokens_to_ids(["x", "y", "z"]))
    task = FakeTask()
    compare(tiny_model(), tokenizer, [2], CRITIC, task=task, canvases=canvases)
    assert [text[0] for text in task.judged[0]] == ["x", "y", "z"]


def test_the_temperature_is_one_unless_a_strategy_says_otherwise(tiny_model, tokenizer, monkeypatch):
    model, seen = tiny_model(), []
    model.generation_config.temperature = 0.0
    inner = type(model).generate

    def spy(self, *args, **kwargs):
        seen.append((kwargs["temperature"], kwargs["num_steps"], kwargs["return_error_probabilities"]))
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "generate", spy)
    task = FakeTask()
    strategies = {
        name: {"remasking": "none", **more}
        for name, more in (("plain", {}), ("cool", {"temperature": 0.5}), ("cold", {"temperature": 0}))
    }
    compare(model, tokenizer, [2], strategies, task=task)
    assert seen == [(1.0, 2, False), (0.5, 2, False), (0, 2, False)]
    plain, _, cold = task.judged
    assert len(set(plain)) == 5 > len(set(cold))


# ---- tuning ----


def test_the_best_setting_on_the_tuning_seed_competes_and_the_choice_is_recorded(tiny_model, tokenizer):
    model = tiny_model(position_embedding_type="absolute")
    tuning = Tuning(seed=9, num_samples=4, score=lambda figures: figures["letters"])
    table = compare(model, tokenizer, [4, 6], MANY, task=LetterTask(), seeds=[1, 2], tuning=tuning)
    for budget in (4, 6):
        cell = table["critic"][str(budget)]
        record = cell["tuning"]
        assert (record["seed"], record["num_samples"]) == (9, 4)
        assert [one["arguments"]["remask_per_step"] for one in record["tried"]] == [0, 1, 2, 3]
        reached = [one["figures"]["letters"] for one in record["tried"]]
        assert cell["arguments"] == record["tried"][reached.index(max(reached))]["arguments"]
        one = {"one": cell["arguments"]}
        alone = compare(model, tokenizer, [budget], one, task=LetterTask(), seeds=[1, 2])["one"][str(budget)]
        assert alone["figures"] == cell["figures"]


def test_what_there_is_nothing_to_measure_by_is_none_and_never_chosen(tiny_model, tokenizer):
    class OddTask(FakeTask):
        calls = 0

        def judge(self, texts):
            self.calls += 1
            return {"letters": float("nan") if self.calls % 2 else 0.1}

    tuning = Tuning(seed=9, num_samples=4, score=functools.partial(score_by, figure="letters", better={}))
    cell = compare(tiny_model(), tokenizer, [4], MANY, task=OddTask(), seeds=[1, 2], tuning=tuning)["critic"]["4"]
    assert [one["figures"]["letters"] for one in cell["tuning"]["tried"]] == [None, 0.1, None, 0.1]
    assert cell["arguments"] == cell["tuning"]["tried"][1]["arguments"]
    assert cell["figures"]["letters"] == {"mean": None, "spread": None, "by_seed": [None, 0.1]}


def test_the_first_of_equals_is_kept_and_what_does_not_fit_is_not_tried(tiny_model, tokenizer):
    tuning = Tuning(seed=9, num_samples=2, score=lambda figures: 0)
    settings = [{"remasking": "critic", "num_candidates": 4}, *MANY["critic"]]
    cell = compare(tiny_model(), tokenizer, [3], {"critic": settings}, tuning=tuning)["critic"]["3"]
    assert cell["arguments"] == {"temperature": 1.0, **MANY["critic"][0]} and len(cell["tuning"]["tried"]) == 4
    nothing = compare(tiny_model(), tokenizer, [3], {"critic": settings[:1] * 2}, tuning=tuning)
    assert nothing == {"critic": {"3": None}}


def test_defaults_stand_first_among_the_settings_to_choose_from(tiny_model):
    model = tiny_model(add_joint_head=True)
    for name, settings in GRIDS.items():
        resolved = [model.resolve_generation_config(**arguments).to_dict() for arguments in settings]
        assert resolved[0] == model.resolve_generation_config(**named()[name]).to_dict(), name
        assert all(one not in resolved[:number] for number, one in enumerate(resolved)), name


# ---- who competes ----


def test_strategies_are_chosen_by_name(tiny_model):
    # Every one but the user's own judge competes, ours last.
    assert {one["remasking"] for one in SHOOT_OUT.values()} == set(STRATEGIES) - {"external"}
    assert set(DEFAULT_COMPETITORS) < set(SHOOT_OUT) and list(SHOOT_OUT)[-1] == "critic"
    model = tiny_model()
    assert select_strategies(model) == (DEFAULT_COMPETITORS, {})
    assert select_strategies(model, ["prism", "random"]) == ({n: SHOOT_OUT[n] for n in ("prism", "random")}, {})
    tuned, _ = select_strategies(model, ["prism", "multinomial", "critic"], tune=True)
    assert tuned == {"prism": GRIDS["prism"], "multinomial": SHOOT_OUT["multinomial"], "critic": GRIDS["critic"]}


def test_what_a_model_cannot_follow_is_left_out_with_the_reason_and_refused_by_name(tiny_model):
    plain = tiny_model(add_critic_head=False)
    assert list(select_strategies(plain)[0]) == ["random", "confidence"]
    strategies, reasons = select_strategies(plain, ["all"])
    judged = {"critic", "critic_independent", "critic_random", "backtrack"}
    judged |= {"critic_full", "token_critic", "prism", "prism_joint"}
    assert set(reasons) == judged | {"random_joint", "confidence_joint", "proseco"}
    assert "no trained joint head" in reasons["confidence_joint"]
    assert not set(strategies) & set(reasons) and "no trained critic" in reasons["prism"]
    uncorrected, reasons = select_strategies(tiny_model(correction_alpha=0.0, add_joint_head=True), ["all"])
    assert set(reasons) == {"proseco"} and "prism" in uncorrected and "correction_alpha" in reasons["proseco"]
    with one_sentence("got 'prism', where the model has no trained critic: drop", begins="`strategies` must"):
        select_strategies(plain, ["random", "prism"])
    with one_sentence("got 'best': choose", begins='`strategies` must be "all" or among random, '):
        select_strategies(plain, ["best"])


@pytest.mark.parametrize(
    ("kwargs", "parts"),
    [
        ({"budgets": []}, ("`budgets`", "none")),
        ({"budgets": [2, 0]}, ("`budgets`", "got 0")),
        ({"strategies": {}}, ("`strategies`", "none")),
        ({"seeds": []}, ("`seeds`", "none")),
        ({"strategies": MANY}, ("`strategies`", "'critic'", "got 4")),
        ({"strategies": {"critic": []}}, ("`strategies`", "'critic'", "got 0")),
        ({"seeds": [1, 2], "tuning": Tuning(2, 5, len)}, ("`tuning`", "got 2 of [1, 2]")),
        ({"num_samples": 0}, ("`num_samples`", "got 0")),
        ({"batch_size": 0}, ("`batch_size`", "got 0")),
    ],
)
def test_wrong_requests_are_one_sentence(tiny_model, tokenizer, kwargs, parts):
    with one_sentence("must", *parts):
        compare(tiny_model(), tokenizer, **{"budgets": [2], "strategies": CRITIC, **kwargs})


def test_a_small_budget_is_no_reason_for_advice(tiny_model, tokenizer, caplog):
    strategies = {"adaptive": {"remasking": "none", "unmasking": "entropy_bound", "entropy_bound": 0.0}}
    compare(tiny_model(), tokenizer, [2], strategies)
    assert not [record for record in caplog.records if "too small" in record.message]
    tiny_model().generate(torch.full((1, 9), tokenizer.mask_token_id), num_steps=2, **strategies["adaptive"])
    assert [record for record in caplog.records if "too small" in record.message]


def test_a_temperature_that_is_compared_is_no_reason_for_advice(tiny_model, tokenizer, caplog):
    model = tiny_model()
    model.calibration = CriticCalibration([0.5] * 100, metadata={"temperature": 1.0})
    compare(model, tokenizer, [2], {"cool": {**CRITIC["critic"], "temperature": 0.51}})
    assert not [record for record in caplog.records if "calibration table was measured" in record.message]
    model.generate(torch.full((1, 9), tokenizer.mask_token_id), num_steps=2, temperature=0.52)
    assert [record for record in caplog.records if "calibration table was measured" in record.message]
