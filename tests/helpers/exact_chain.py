# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
A law of sequences that is known exactly: an order-1 Markov chain of few short sequences, all of which are listed.

`python tests/helpers/exact_chain.py PICTURE.png` draws what becomes of it under several laws (docs/WHICH_SETTINGS.md).
"""

import itertools
import sys

import torch

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.diffusion.randomness import STREAM_SAMPLE, STREAM_SELECT, sample_inverse_cdf, uniforms
from critic_gpt.diffusion.selection import apply_remasking_step, unlikelihood


LETTERS, LENGTH = 2, 8
MASK = LETTERS  # the tokens are 0 and 1
FIRST = torch.tensor([0.6, 0.4], dtype=torch.double)
NEXT = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.double)
SEQUENCES = torch.tensor(list(itertools.product(range(LETTERS), repeat=LENGTH)))  # (K, T)
LAW = FIRST[SEQUENCES[:, 0]] * NEXT[SEQUENCES[:, :-1], SEQUENCES[:, 1:]].prod(dim=-1)  # (K,)
_PLACES = (LETTERS + 1) ** torch.arange(LENGTH - 1, -1, -1)


def _conditionals() -> torch.Tensor:
    """For every canvas what stands at each position given all *other* visible tokens: (canvases, T, letters)."""
    canvases = torch.tensor(list(itertools.product(range(LETTERS + 1), repeat=LENGTH)))
    contradicts = (canvases[:, None] != SEQUENCES) & (canvases[:, None] != MASK)  # (canvases, K, T)
    elsewhere = contradicts.sum(dim=-1, keepdim=True) - contradicts.long()
    weights = (elsewhere == 0) * LAW[:, None]
    letters = torch.nn.functional.one_hot(SEQUENCES, LETTERS).double()
    found = torch.einsum("nkt,ktv->ntv", weights, letters)
    return found / found.sum(dim=-1, keepdim=True)


_CONDITIONALS = _conditionals()


def conditionals(canvases: torch.Tensor) -> torch.Tensor:
    """What the law says of each position (B, T, letters), given all other visible tokens of the canvases (B, T)."""
    return _CONDITIONALS[(canvases * _PLACES).sum(dim=-1)]


def shares(sequences: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """How often each sequence of the law (K,) occurs among complete ones (B, T)."""
    number = (sequences * LETTERS ** torch.arange(LENGTH - 1, -1, -1)).sum(dim=-1)
    counts = torch.bincount(number, weights=weights, minlength=len(LAW)).double()
    return counts / counts.sum()


def sharpened(exponent: float) -> torch.Tensor:
    """The law to a power: at the temperature 1 / exponent."""
    return LAW**exponent / (LAW**exponent).sum()


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Total variation: half the sum of all differences."""
    return float((one - other).abs().sum() / 2)


def drawn_from(law: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Sequences (B, T) in proportion to a law (K,), as nearly as whole numbers allow: without chance."""
    ends = (law.cumsum(0) / law.sum() * num_rows).round().long()
    return SEQUENCES.repeat_interleave(ends.diff(prepend=ends.new_zeros(1)), dim=0)


def chain_of_corrections(
    state: torch.Tensor, num_steps: int, *, exponent: float = 1.0, redraw: float = 1.0, selection: str = "gumbel"
) -> torch.Tensor:
    """
    The sequences (B, T) after so many steps, of which each masks one token again, by `c ** -exponent` or the worst,
    and draws it anew from p ** redraw.
    """
    seeds, visible = torch.arange(len(state)), torch.ones_like(state, dtype=torch.bool)
    for step in range(num_steps):
        masked, _ = apply_remasking_step(
            state,
            MASK,
            num_remask=1,
            critic_scores=unlikelihood(likelihood_of(state), exponent, visible).exp(),
            remask_selection=selection,
            selection_noise=uniforms(seeds, STREAM_SELECT, step, LENGTH),
        )
        chances = conditionals(masked) ** redraw
        drawn = sample_inverse_cdf(
            chances / chances.sum(-1, keepdim=True), uniforms(seeds, STREAM_SAMPLE, step, LENGTH)
        )
        state = torch.where(masked == MASK, drawn, state)
    return state


def likelihood_of(state: torch.Tensor) -> torch.Tensor:
    """What each token (B, T) of complete sequences has given all others."""
    return conditionals(state).gather(-1, state[..., None]).squeeze(-1)


class ExactModel(CriticGPTForMaskedLM):
    """A model that knows the law: its logits are the conditionals, its critic is wrong with 1 - p(token | others)."""

    def forward(self, input_ids=None, attention_mask=None, return_dict=None, **kwargs):
        output = super().forward(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
        known = conditionals(input_ids)
        logits = torch.full_like(output.logits, float("-inf")).double()
        logits[..., :LETTERS] = known.log()
        token = known.gather(-1, input_ids.clamp(max=LETTERS - 1)[..., None]).squeeze(-1)
        output.logits, output.critic_logits = logits, torch.logit(1.0 - token, eps=1e-9)
        return output


def exact_model() -> ExactModel:
    """The model, with what `generate` needs around it."""
    config = CriticGPTConfig(
        vocab_size=LETTERS + 1,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=LENGTH,
        mask_token_id=MASK,
        add_critic_head=True,
    )
    model = ExactModel(config).eval()
    torch.nn.init.ones_(model.critic_head.weight)  # counts as trained
    return model


def generated(model: ExactModel, num_rows: int, **kwargs) -> torch.Tensor:
    """The shares (K,) of what `generate` makes of so many empty canvases."""
    blank = torch.full((num_rows, LENGTH), MASK)
    output = model.generate(blank, seed=list(range(num_rows)), return_dict_in_generate=False, **kwargs)
    return shares(output)


def draw(path: str) -> None:
    """Draws what becomes of the likeliest sequences under several laws, the truth beside them."""
    from matplotlib.figure import Figure

    from critic_gpt.evaluation.plots import COLOURS, GREY

    model, rows = exact_model(), 20000
    settled = drawn_from(LAW, rows)
    laws = {
        "the k worst are masked again": shares(chain_of_corrections(settled, 60, selection="worst")),
        "random order, 4 passes": generated(model, rows, remasking="none", unmasking="random", num_steps=4),
        "accept or reject, 4 passes": generated(model, rows, remasking="accept_reject", num_steps=4),
    }
    shown = LAW.argsort(descending=True)[:12]
    names = ["".join("ab"[token] for token in row) for row in SEQUENCES[shown].tolist()]
    figure = Figure(figsize=(8.4, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    place, width = torch.arange(len(shown)), 0.26
    for number, ((name, law), colour) in enumerate(zip(laws.items(), COLOURS[1:], strict=False)):
        label = f"{name}: {distance(law, LAW):.2f} from the truth"
        axes.bar(place + (number - 1) * width, law[shown], width, color=colour, label=label)
    for number, value in enumerate(LAW[shown].tolist()):
        axes.plot((number - 0.48, number + 0.48), (value, value), color="black", linewidth=1.6)
    axes.plot((), (), color="black", label="the truth")
    axes.set_xticks(place, names, rotation=45, family="monospace", fontsize=8)
    axes.set(ylabel="share of all sequences", xlabel="the 12 likeliest of 256 sequences")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis="y", color=GREY, alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    draw(sys.argv[1])
