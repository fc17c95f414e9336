"""Settings and fixtures shared by the tests: no network, one thread, tiny models and tokenizers."""

import logging
import os


# Before anything imports the hub's client.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.tasks.tokenizers import build_character_tokenizer


# Tiny tensors: more threads only wait for each other.
torch.set_num_threads(1)

TINY = {
    "vocab_size": 32,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 48,
    "pad_token_id": 0,
    "mask_token_id": 1,
    # Larger than usual, so that tiny untrained models have opinions.
    "initializer_range": 0.3,
}


@pytest.fixture
def tiny_config():
    """Makes a configuration of a tiny model; keyword arguments override."""
    return lambda **overrides: CriticGPTConfig(**{**TINY, **overrides})


@pytest.fixture
def tiny_model(tiny_config):
    """Makes a tiny [`CriticGPTForMaskedLM`] in eval mode, with a critic head that has opinions."""

    def make(seed: int = 0, **overrides):
        torch.manual_seed(seed)
        model = CriticGPTForMaskedLM(tiny_config(**{"add_critic_head": True, **overrides})).eval()
        if model.critic_head is not None:
            torch.nn.init.normal_(model.critic_head.weight)
        if model.joint_head is not None:
            torch.nn.init.normal_(model.joint_head.output.weight)
        return model

    return make


@pytest.fixture
def unsure_model(tiny_model):
    """A tiny model whose critic's verdicts are not all extreme."""
    model = tiny_model()
    with torch.no_grad():
        model.critic_head.weight.mul_(0.2)
    return model


@pytest.fixture(scope="session")
def tokenizer():
    """A character tokenizer: [PAD] is 0, [MASK] is 1, then `a` to `z` and four signs; 32 entries."""
    return build_character_tokenizer("abcdefghijklmnopqrstuvwxyz \n.,", model_max_length=48)


@pytest.fixture
def warnings(monkeypatch):
    """What the package warns about in this test, each time it does."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    # Of the sentences that are said once it would be told in one test only.
    monkeypatch.setattr(logging.Logger, "warning_once", logging.Logger.warning)
    logger = logging.getLogger("critic_gpt")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
