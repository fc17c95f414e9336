# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How good is the critic, and how good is what it steers: numbers, pictures of them, and the data they come from."""

from critic_gpt.evaluation.comparison import Tuning, compare_strategies, figures_of
from critic_gpt.evaluation.competitors import DEFAULT_COMPETITORS, GRIDS, SHOOT_OUT, competitors, select_strategies
from critic_gpt.evaluation.data_sources import load_split, resolve_dataset
from critic_gpt.evaluation.divergence import HeldOutDivergence
from critic_gpt.evaluation.held_out_figures import HeldOutFigures
from critic_gpt.evaluation.mauve import Mauve
from critic_gpt.evaluation.metrics import (
    auroc,
    binned_errors,
    brier_score,
    calibration_report,
    calibration_shift,
    cross_fitted_report,
    expected_calibration_error,
    reliability_bins,
    summary_by_target,
)
from critic_gpt.evaluation.plots import (
    plot_calibration,
    plot_expected_errors,
    plot_quality_by_forward_passes,
    plot_reliability,
)
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows, SpecialTokens, uniform_rows
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings
from critic_gpt.evaluation.text_figures import TextFigures
from critic_gpt.evaluation.text_judge import TextJudge
from critic_gpt.evaluation.trajectories import (
    FINAL_STEP,
    ExpectedErrors,
    JudgedTrajectories,
    expected_errors,
    judge_trajectories,
    report_by_step,
)
from critic_gpt.evaluation.verifier import verify


__all__ = [
    "FINAL_STEP",
    "GRIDS",
    "HeldOutDivergence",
    "HeldOutFigures",
    "SHOOT_OUT",
    "DEFAULT_COMPETITORS",
    "competitors",
    "CollatorForCorruptedRows",
    "ExpectedErrors",
    "JudgedFillings",
    "JudgedTrajectories",
    "Mauve",
    "SpecialTokens",
    "TextFigures",
    "TextJudge",
    "Tuning",
    "auroc",
    "binned_errors",
    "brier_score",
    "calibration_report",
    "calibration_shift",
    "compare_strategies",
    "cross_fitted_report",
    "expected_calibration_error",
    "expected_errors",
    "figures_of",
    "judge_fillings",
    "judge_trajectories",
    "load_split",
    "plot_calibration",
    "plot_expected_errors",
    "plot_quality_by_forward_passes",
    "plot_reliability",
    "reliability_bins",
    "report_by_step",
    "resolve_dataset",
    "select_strategies",
    "summary_by_target",
    "uniform_rows",
    "verify",
]
