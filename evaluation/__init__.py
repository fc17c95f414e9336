# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How good is the critic, and how good is what it steers: numbers (`metrics`) and pictures of them (`plots`)."""

from critic_gpt.evaluation.comparison import STRATEGIES, compare_strategies
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
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings


__all__ = [
    "JudgedFillings",
    "STRATEGIES",
    "auroc",
    "brier_score",
    "calibration_report",
    "compare_strategies",
    "cross_fitted_report",
    "expected_calibration_error",
    "judge_fillings",
    "plot_calibration",
    "plot_quality_by_forward_passes",
    "plot_reliability",
    "reliability_bins",
    "summary_by_target",
]
