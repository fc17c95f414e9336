# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How good is the critic, and how good is what it steers: numbers (`metrics`) and pictures of them (`plots`)."""

from critic_gpt.evaluation.metrics import (
    auroc,
    brier_score,
    calibration_report,
    cross_fitted_report,
    expected_calibration_error,
    reliability_bins,
    summary_by_target,
)
from critic_gpt.evaluation.plots import plot_quality_by_forward_passes, plot_reliability


__all__ = [
    "auroc",
    "brier_score",
    "calibration_report",
    "cross_fitted_report",
    "expected_calibration_error",
    "plot_quality_by_forward_passes",
    "plot_reliability",
    "reliability_bins",
    "summary_by_target",
]
