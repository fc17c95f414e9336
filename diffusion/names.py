# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Names that settings may have, and numbers in their place. Imports no torch, since the command line reads them."""

import math


SCHEDULES = ("linear", "quadratic", "root", "cosine")
REMASK_SELECTION = ("worst", "gumbel")
# Re-masks half of all tokens, spread evenly over the steps.
HALF = "half"


def is_exponent(schedule: object) -> bool:
    """Whether a schedule is a number that can be the exponent of progress."""
    return isinstance(schedule, (int, float)) and not isinstance(schedule, bool) and 0.0 < schedule < math.inf
