# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about reports as text."""

from critic_gpt.evaluation.report import comparison_text, format_value, too_small_text, verifier_text


def value(mean, spread=None):
    return {"mean": mean, "spread": spread, "by_seed": [mean]}


def cell(**figures):
    return {"mean_forward_passes": 8.0, "figures": {name: value(*numbers) for name, numbers in figures.items()}}


TABLE = {
    "random": {"9": cell(valid_rate=(0.012, 0.001), distinct_rate=(1.0,)), "18": None},
    "a_rather_long_name": {"9": cell(valid_rate=(0.5, 0.02), distinct_rate=(0.4,))},
}


def test_shares_are_per_cent_and_other_figures_numbers_and_several_seeds_have_a_spread():
    assert format_value("valid_rate", value(0.178)) == "17.8%"
    assert format_value("valid_rate", value(0.178, 0.0123)) == "17.8 ± 1.2%"
    assert format_value("entropy_deviation", value(0.012)) == "+1.2%"
    assert format_value("entropy_deviation", value(-0.012, 0.001)) == "-1.2 ± 0.1%"
    assert format_value("bits_per_character", value(2.34567)) == "2.346"
    assert format_value("bits_per_character", value(2.34567, 0.01)) == "2.346 ± 0.010"


def test_a_table_has_a_row_for_each_strategy_and_a_column_for_each_budget():
    lines = comparison_text(TABLE, {"valid_rate": "share of valid grids"}).splitlines()
    assert lines[1] == "share of valid grids, by forward passes (share of distinct samples in brackets)"
    assert lines[3].split() == ["9", "18"]
    assert lines[4].split() == ["random", "1.2", "±", "0.1%", "(100%)"]
    assert lines[5].split() == ["a_rather_long_name", "50.0", "±", "2.0%", "(40%)"]
    # All columns end where their heads do.
    assert lines[3].index("9") == lines[4].rindex(")") == lines[5].rindex(")")


def test_every_figure_has_a_table_and_real_samples_a_row():
    table = {"critic": {"9": cell(right_rate=(0.5,), bits=(2.0,))}}
    text = comparison_text(table, {"right_rate": "right", "bits": "bits"}, {"bits": 1.5})
    assert text.count(", by forward passes") == 2 and "brackets" not in text
    assert [line.split() for line in text.splitlines() if line.startswith("real")] == [["real", "1.500"]]


def test_beside_the_share_of_valid_samples_stands_what_one_of_them_costs():
    table = {"critic": {"9": cell(valid_rate=(0.25, 0.1)), "18": cell(valid_rate=(0.0,))}, "random": {"18": None}}
    lines = comparison_text(table, {"valid_rate": "valid"}).splitlines()
    assert lines[7] == "forward passes per valid sample, by forward passes; lower is better"
    assert [line.split() for line in lines[9:]] == [["9", "18"], ["critic", "32.0", "none"], ["random"]]


def test_budgets_that_were_too_small_are_named():
    assert too_small_text(TABLE) == "Budgets too small for a single step: random at 18."
    assert too_small_text({"critic": {"9": cell()}}) is None


def test_a_verifier_without_two_kinds_of_sequences_has_no_auroc():
    part = {"success_rate": value(1.0), "passes": 10, "num_steps": 9}
    figures = {
        "auroc": {"all_right": None, "expected_errors": 0.75, "self_log_probability": 0.5},
        "all_right": {"mean": 0.9, "rate": 1.0, "ece": 0.1, "brier": 0.1},
        "num_candidates": 4,
        **dict.fromkeys(("single", "best_of_n", "single_at_equal_passes"), part),
    }
    text = verifier_text({"9": figures})
    assert "At 9 forward passes: AUROC none by P(all right), 0.7500 by expected errors" in text
    assert "best of 4: 100.0% right in 10 passes" in text
