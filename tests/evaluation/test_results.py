# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about recorded results: the tables of the documents are those of the records."""

import json
from pathlib import Path

import pytest
from sentences import one_sentence

import critic_gpt
from critic_gpt.evaluation.competitors import FAMILIES, SHOOT_OUT, TITLES
from critic_gpt.evaluation.results import merge_metrics, record_of, rendered
from critic_gpt.scripts import record_results


ROOT = Path(critic_gpt.__file__).parent
END = "<!-- end of results -->"


def cell(mean, spread=None):
    value = {"mean": mean, "spread": spread, "by_seed": [mean]}
    spent = {"num_steps": 9, "forward_passes": 9, "mean_forward_passes": 9.0, "seconds": 1.5}
    figures = {"valid_rate": value, "entropy_deviation": {**value, "mean": -mean}}
    tuning = {"seed": 0, "num_samples": 5, "tried": []}
    return {**spent, "arguments": {"remasking": "critic"}, "figures": figures, "tuning": tuning}


def metrics(**more):
    settings = {"seeds": [1, 2, 3], "num_samples": 1000, "num_parameters": 793_344, "tuning_seed": None}
    settings |= {"forward_passes": [9, 18], "strategies": {"prism": {}, "critic": {}}, "left_out": {}}
    row = {"9": cell(0.012, 0.001), "18": cell(0.5, 0.02)}
    measured = {"language_model": {"nats_per_token": 0.6}, "seconds": {"critic": {"9": 1.5}}}
    return {"settings": settings, **measured, "comparison": {"prism": {**row, "9": None}, "critic": row}, **more}


def verifier():
    def part(mean, passes):
        return {"success_rate": {"mean": mean, "spread": None, "by_seed": [mean]}, "passes": passes, "num_steps": 9}

    auroc = {"all_right": 0.99, "expected_errors": 0.98, "self_log_probability": None}
    parts = {"single": part(0.5, 27), "best_of_n": part(0.9, 108), "single_at_equal_passes": part(0.8, 108)}
    return {"26": {"auroc": auroc, "num_candidates": 4, **parts}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "grids.json").write_text(json.dumps(record_of(metrics(verifier=verifier()))))
    return tmp_path


# ---- the documents of this repository ----


@pytest.mark.parametrize("path", record_results.documents(ROOT), ids=lambda path: path.name)
def test_the_tables_of_the_documents_are_those_of_the_records(path):
    if not path.is_file():
        pytest.skip("the package is installed without its documents")
    text = path.read_text(encoding="utf-8")
    assert rendered(text, ROOT / record_results.RESULTS) == text, "run `make results`"


def test_every_competitor_has_a_title():
    assert list(TITLES) == [*SHOOT_OUT, *FAMILIES] and len(set(TITLES.values())) == len(TITLES)


# ---- tables ----


def test_a_table_shows_the_figure_of_the_strategies_in_their_order(folder):
    text = f"before\n<!-- results: grids valid_rate critic prism -->\nold\n{END}\nafter\n"
    assert rendered(text, folder) == (
        "before\n<!-- results: grids valid_rate critic prism -->\n\n"
        "| forward passes | 9 | 18 |\n"
        "|---|---|---|\n"
        "| **critic** | **1.2 ± 0.1%** | **50.0 ± 2.0%** |\n"
        "| PRISM | - | 50.0 ± 2.0% |\n"
        "\n1,000 samples for each of the seeds 1, 2 and 3: mean ± standard deviation; 793,344 parameters.\n\n"
        f"{END}\nafter\n"
    )


def test_what_a_valid_sample_costs_is_a_table_though_no_record_has_it(folder):
    table = rendered(f"<!-- results: grids passes_per_valid critic prism -->\n{END}", folder)
    assert "| **critic** | **750.0** | **18.0** |\n| PRISM | - | 18.0 |\n" in table and " Lower is better.\n" in table


def test_writing_again_changes_nothing_and_text_without_tables_is_left_alone(folder):
    text = f"<!-- results: grids valid_rate -->\n{END}\n\n<!-- results: grids entropy_deviation critic -->\n{END}\n"
    once = rendered(text, folder)
    assert rendered(once, folder) == once and once.count("| **critic** |") == 2 and "-50.0 ± 2.0%" in once
    assert rendered("no table\n", folder) == "no table\n"


def test_real_text_and_tuning_and_single_seeds_are_said(folder):
    settings = {**metrics()["settings"], "seeds": [4], "tuning_seed": 7}
    measured = metrics(settings=settings, real_text={"valid_rate": 0.955})
    row = measured["comparison"]["critic"]
    without = {passes: {name: one[name] for name in one if name != "tuning"} for passes, one in row.items()}
    measured["comparison"]["critic"] = without
    record = record_of(measured)
    (folder / "text.json").write_text(json.dumps(record))
    table = rendered(f"<!-- results: text valid_rate critic -->\n{END}", folder)
    assert "| real | 95.5% | 95.5% |\n" in table
    assert (
        "samples of the seed 4; 793,344 parameters. Settings chosen at each budget on the seed 7; the defaults of "
        "critic.\n" in table
    )
    (folder / "text.json").write_text(json.dumps(record_of(metrics(settings=settings))))
    assert "on the seed 7.\n" in rendered(f"<!-- results: text valid_rate critic -->\n{END}", folder)


def test_what_the_critic_knows_of_whole_sequences_is_a_table_as_well(folder):
    table = rendered(f"<!-- results: grids verifier -->\n{END}", folder)
    assert "| forward passes | 26 |" in table and "| AUROC of P(all right) | 0.990 |" in table
    assert "| AUROC of the model's own probability | - |" in table
    assert "| **right, best of 4 by expected errors** | **90.0% (108 passes)** |" in table


@pytest.mark.parametrize(
    ("marker", "parts"),
    [
        ("<!-- results: none valid_rate -->\n" + END, ("'none'", "there are grids")),
        ("<!-- results: grids speed -->\n" + END, ("figure", "'speed'", "valid_rate")),
        ("<!-- results: grids -->\n" + END, ("figure", "''", "valid_rate")),
        ("<!-- results: grids valid_rate best -->\n" + END, ("strategies", "best", "prism, critic")),
        ("<!-- results: grids valid_rate -->\n", ("1 beginnings", "0 end")),
    ],
)
def test_markers_that_name_nothing_are_one_sentence(folder, marker, parts):
    with one_sentence(*parts, begins="`results` must"):
        rendered(marker, folder)


def test_a_figure_that_a_part_could_not_measure_is_a_dash_there(folder):
    found, measured = metrics(), cell(0.5)
    measured["figures"]["fcd"] = {"mean": 7.5, "spread": None, "by_seed": [7.5]}
    found["comparison"]["critic"] = {"9": cell(0.1), "18": measured}
    (folder / "grids.json").write_text(json.dumps(record_of(found)))
    table = rendered(f"<!-- results: grids fcd -->\n{END}\n", folder)
    assert "| PRISM | - | - |" in table and "| **critic** | **-** | **7.500** |" in table


def test_a_record_is_small(folder):
    record = record_of(metrics())
    assert set(record) == {"settings", "language_model", "comparison"}
    assert record["comparison"]["prism"]["9"] is None
    kept = {"num_steps", "forward_passes", "mean_forward_passes", "arguments", "figures"}
    assert set(record["comparison"]["critic"]["9"]) == kept


# ---- a comparison in parts ----


def part(strategy, budgets, **settings):
    row = {str(budget): cell(budget / 100) for budget in budgets}
    settings = {"forward_passes": budgets, "strategies": {strategy: {"remasking": strategy}}, **settings}
    return metrics(comparison={strategy: row}, settings={**metrics()["settings"], **settings})


def test_parts_of_one_comparison_become_one(folder):
    parts = [part("critic", [18]), part("prism", [9, 18]), part("critic", [9, 100]), part("none", [9])]
    del parts[0]["language_model"]
    parts[1]["settings"]["left_out"] = {"proseco": "no correction", "none": "elsewhere"}
    merged = merge_metrics(parts)
    assert {name: list(row) for name, row in merged["comparison"].items()} == {
        "prism": ["9", "18"],
        "critic": ["9", "18", "100"],
        "none": ["9"],
    }
    assert list(merged["comparison"]) == ["prism", "critic", "none"], "in the order of the shoot-out"
    assert merged["comparison"]["critic"]["100"] == cell(1.0) and merged["language_model"] == {"nats_per_token": 0.6}
    assert merged["settings"]["forward_passes"] == [9, 18, 100]
    assert merged["settings"]["strategies"]["prism"] == {"remasking": "prism"}
    assert merged["settings"]["left_out"] == {"proseco": "no correction"}
    (folder / "parts.json").write_text(json.dumps(record_of(merged)))
    assert "| PRISM | 9.0% | 18.0% | - |" in rendered(f"<!-- results: parts valid_rate -->\n{END}", folder)
    assert merge_metrics([metrics()]) == metrics()


def test_tuned_and_untuned_parts_are_one_comparison():
    parts = [part("critic", [9]), part("prism", [9], tuning_seed=5), part("prism", [18], tuning_seed=5)]
    for order in (parts, parts[::-1]):
        assert merge_metrics(order)["settings"]["tuning_seed"] == 5
    with pytest.raises(ValueError, match="`report` must be of one comparison, got tuning_seed=5 and 6: "):
        merge_metrics([*parts, part("p2", [9], tuning_seed=6)])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (part("critic", [9], seeds=[4]), ("seeds", "[4]", "apart")),
        (part("critic", [9], dtype="bfloat16"), ("dtype", "'bfloat16'")),
        (part("prism", [9]), ("prism at 9", "twice")),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(other, words):
    with one_sentence(*words, begins="`report` must"):
        merge_metrics([part("prism", [9, 18]), other])


def test_the_precision_is_said_where_it_is_not_full(folder):
    (folder / "low.json").write_text(json.dumps(record_of(part("critic", [9], dtype="bfloat16"))))
    assert "793,344 parameters in bfloat16." in rendered(f"<!-- results: low valid_rate -->\n{END}", folder)


# ---- the script ----


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "root"
    (root / "docs" / "experiments").mkdir(parents=True)
    (root / "README.md").write_text(f"A\n<!-- results: new valid_rate critic -->\n{END}\n", encoding="utf-8")
    (root / "docs" / "experiments" / "README.md").write_text("B ±\n", encoding="utf-8")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics()))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.json").write_text("{}")
    return root


def run(repository, *more):
    return record_results.main(["--root", str(repository), *map(str, more)])


def test_a_report_is_recorded_and_the_tables_follow(repository, capsys):
    flags = ("--report", repository.parent, "--name", "new", "--note", "machine=two cores", "commit=abc")
    changed = run(repository, *flags)
    assert [path.name for path in changed] == ["new.json", "README.md"]
    record = json.loads((repository / "docs" / "results" / "new.json").read_text())
    assert set(record) == {"date", "versions", "notes", "settings", "language_model", "comparison"}
    assert record["notes"] == {"machine": "two cores", "commit": "abc"}
    assert set(record["versions"]) == {"torch", "transformers"}
    assert "| **critic** | **1.2 ± 0.1%** |" in (repository / "README.md").read_text(encoding="utf-8")
    assert "README.md" in capsys.readouterr().out
    assert run(repository) == [] and "nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--report", "."), ("`report` and `name`", "None")),
        (("--report", "nowhere", "--name", "x"), ("`report`", "'nowhere'")),
        (("--report", "{report}", "--name", "x", "--note", "fast"), ("`note`", "'fast'")),
        (("--report", "{report}/empty", "--name", "x"), ("`report`", "settings and a comparison", "nothing")),
        (("--report", "{report}", "--name", "two words"), ("`name`", "one word", "'two words'")),
        (("--report", "{report}", "--name", "../x"), ("`name`", "one word", "'../x'")),
        (("--report", "{report}", "--name", ""), ("`name`", "one word", "''")),
        (("--root", "nowhere"), ("`root`", "README.md", "'nowhere'")),
        ((), ("`results`", "'new'")),
    ],
)
def test_wrong_requests_are_one_sentence_and_change_nothing(repository, flags, parts):
    before = (repository / "README.md").read_bytes()
    with one_sentence(*parts, error=(ValueError, FileNotFoundError)):
        run(repository, *(str(flag).format(report=repository.parent) for flag in flags))
    assert (repository / "README.md").read_bytes() == before and not (repository / "docs" / "results").exists()
