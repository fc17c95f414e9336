# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Data that the tests of evaluation share."""

import pytest
import torch


@pytest.fixture(scope="session")
def rows():
    """Thirteen sequences of different lengths."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.randint(4, 20, (13,), generator=generator).tolist()
    return [{"input_ids": torch.randint(2, 32, (size,), generator=generator).tolist()} for size in sizes]
