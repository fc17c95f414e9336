# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the common tests of Transformers need around them; and the reasons for which one may be skipped."""

import re

import pytest


# Markers of theirs, which `--strict-markers` would refuse.
MARKERS = (
    "accelerate_tests",
    "flash_attn_test",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "is_training_test",
    "torch_compile_test",
)

# A test that is skipped for any other reason fails. Each line: their words, and why that is no loss.
REASONS = {
    # Machines and libraries. What can be had without them is asked in tests/test_modeling_*.py: flex attention,
    # compilation, export, loading with `device_map`, disk offload.
    r"test requires (an? |multiple )?accelerators?": "there is none",
    r"test requires (MPS|CUDA|the kernels library|deepspeed|Flash Attention( \d)?)": "none of them is a dependency",
    r"test requires PEFT|[Pp][Ee][Ff][Tt] is not available": "an optional dependency",
    r"test is slow": "needs an accelerator besides",
    # Questions about other kinds of models.
    r"No decoder-only language modeling head to check": "no class shifts its labels",
    r"No sequence-to-sequence language modeling head to check": "no class has a decoder",
    r"Model does not have position embeddings": "asked of models with `get_position_embeddings`, encoder-decoders",
    r"(This m|M)odel is not (a )?composite( model[.!])?|No subconfigs so .*": "there is one configuration",
    r"\w+ does not support SDPA": "their words for a model that is not composite; tests of SDPA itself pass",
    r"\w+ does not support grouped_mm|This model has no sparse experts\.": "there are no experts",
    r"This model has no `output_router_logits` in its config\.": "there are no experts",
    r"Model does not support sliding window mask": "attention is global",
    r"This model does not have partial rope supported": "all of a head is rotated",
    r".* has no axial RoPE layer defined\.": "texts have one axis",
    r"\w+ (class )?has no _keep_in_fp32_modules n?or _keep_in_fp32_modules_strict attribute defined": "none must stay",
    r"No conversion found for .*": "weights are stored as they are used",
    # Variants of one class.
    r"This model has no `base_model_class` defined in tester\.": "the trunk is tested with all classes",
    r"This model has no standardized RoPE module found\.": "the variant with learnt positions",
}


def pytest_configure(config):
    for marker in MARKERS:
        config.addinivalue_line("markers", f"{marker}: one of Transformers' own")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    # Only theirs: the skip of the whole room where the sources are missing happens at collection.
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not any(re.fullmatch(known, reason) for known in REASONS):
            report.outcome = "failed"
            report.longrepr = f"Skipped for a reason that nobody has looked at, {reason!r}: justify it in {__file__}."
