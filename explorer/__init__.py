# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A look at a model: samples, masks, the critic's verdict, denoising by hand. Views are data; the fronts draw them.

The fronts stand in modules of their own, `critic_gpt.explorer.terminal` and `critic_gpt.explorer.web`.
"""

from critic_gpt.explorer.denoising import (
    DenoisingState,
    edit,
    fill,
    remask,
    reveal_truth,
    score,
    start_from_sample,
    start_from_text,
    unmask,
)
from critic_gpt.explorer.denoising_views import (
    DenoisingView,
    GenerationView,
    StepView,
    denoising_view,
    generation_view,
)
from critic_gpt.explorer.session import CollatorAtMaskRate, Explorer
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.explorer.views import (
    CorruptedView,
    CriticView,
    SampleView,
    TextView,
    corrupted_view,
    critic_view,
    sample_view,
    text_view,
    view_data,
)


__all__ = [
    "CollatorAtMaskRate",
    "CorruptedView",
    "CriticView",
    "DenoisingState",
    "DenoisingView",
    "Explorer",
    "GenerationView",
    "SampleView",
    "StepView",
    "TextView",
    "TokenView",
    "corrupted_view",
    "critic_view",
    "denoising_view",
    "edit",
    "fill",
    "generation_view",
    "remask",
    "reveal_truth",
    "sample_view",
    "score",
    "start_from_sample",
    "start_from_text",
    "text_view",
    "unmask",
    "view_data",
]
