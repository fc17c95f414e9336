# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How good is the critic, and how good is what it steers: numbers, pictures of them, and the data they come from."""

from critic_gpt.evaluation.comparison import STRATEGIES, compare_strategies
from critic_gpt.evaluation.data_sources import load_split, resolve_dataset
from critic_gpt.evaluation.metrics import (
    auroc,
    brier_score,
    calibration_report,
    cross_fitted_report,
    expected_calibration_error,
    reliability_bins,
    summary_by_target,
)
from critic_gpt.evaluation.plots import plot_calibration, plot_quality_by_forward_passes, plot_reliability
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows, SpecialTokens, uniform_rows
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings


__all__ = [
    "CollatorForCorruptedRows",
    "JudgedFillings",
    "STRATEGIES",
    "SpecialTokens",
    "auroc",
    "brier_score",
    "calibration_report",
    "compare_strategies",
    "cross_fitted_report",
    "expected_calibration_error",
    "judge_fillings",
    "load_split",
    "plot_calibration",
    "plot_quality_by_forward_passes",
    "plot_reliability",
    "reliability_bins",
    "resolve_dataset",
    "summary_by_target",
    "uniform_rows",
]
