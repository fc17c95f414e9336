# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about streamers: Transformers' own, what ours are told of each step, and the one that draws in a terminal."""

import io
import re
import threading
from itertools import pairwise

import pytest
import torch
from denoising_steps import MASK, PAD, SEEDS, canvas
from refusals import refused
from rich.console import Console
from transformers import TextDiffusionStreamer, TextIteratorStreamer, pipeline

from critic_gpt.evaluation.sampling import ForwardCounter
from critic_gpt.explorer.drawing import MASK_SIGN, error_color, visible
from critic_gpt.explorer.streaming import TerminalStreamer
from critic_gpt.generation.streamers import CriticStreamer, StreamedStep


CASES = [
    {"remasking": "critic"},
    {"remasking": "critic", "stop_when_expected_errors_below": 3.0},
    {"remasking": "critic_full", "error_threshold": 0.4},
    {"remasking": "confidence"},
    {"remasking": "none", "unmasking": "entropy_bound", "entropy_bound": 3.0},
    {"remasking": "remdm_conf"},
    {"remasking": "proseco"},
    {"remasking": "multinomial"},
    {"stopping_criteria": [lambda ids, scores: (ids == MASK).sum(-1) <= 4]},
]
every_case = pytest.mark.parametrize(
    "case",
    CASES,
    ids=lambda case: "-".join(str(v) if isinstance(v, (str, int, float)) else k for k, v in case.items()),
)


@pytest.fixture
def model(unsure):
    return unsure


def generate(model, streamer=None, ids=canvas, **fields):
    return model.generate(ids, streamer=streamer, **{"num_steps": 5, "seed": SEEDS, **fields})


class Recorder(CriticStreamer):
    """Keeps what it is told, in order."""

    def __init__(self):
        self.calls = []
        for name in ("put", "put_draft", "put_step", "end", "abort"):
            setattr(self, name, lambda value=None, name=name: self.calls.append((name, value)))

    def told(self, name):
        return [value for said, value in self.calls if said == name]

    @property
    def steps(self):
        return self.told("put_step")

    @property
    def names(self):
        return [name for name, _ in self.calls]


# ---- what a streamer is told ----


@every_case
def test_a_streamer_changes_nothing_and_costs_nothing(model, case):
    plain = generate(model, return_history=True, **case)
    with ForwardCounter(model) as counter:
        streamed = generate(model, Recorder(), return_history=True, **case)
    assert counter.passes == plain.forward_passes + plain.scoring_passes
    assert set(plain.keys()) == set(streamed.keys())
    for name, value in plain.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, streamed[name]), name
        elif name != "history":
            assert value == streamed[name], name


@every_case
def test_it_is_told_of_the_canvas_each_step_and_the_result_with_what_the_critic_knows_by_then(model, case):
    recorder = Recorder()
    output = generate(model, recorder, return_history=True, **case)
    count = len(output.history)
    assert recorder.names == ["put", "put_step", *["put_draft", "put_step"] * count, "put", "put_step", "end"]
    # A prompt comes first, as with Transformers' own models; here it is empty.
    prompt, rest = recorder.told("put")
    assert prompt.shape[1] == 0 and torch.equal(rest, output.sequences)
    for draft, now in zip(recorder.told("put_draft"), output.history, strict=True):
        assert torch.equal(draft, now.filled.masked_fill(now.remasked, MASK))
    first, *steps, last = recorder.steps
    assert torch.equal(first.sequences, canvas) and torch.equal(first.editable, canvas == MASK)
    assert torch.equal(first.attention_mask, canvas != PAD) and not first.row_passes.any()
    assert first.error_probabilities.isnan().all()
    assert [step.finished for step in recorder.steps].index(True) == count + 1
    for before, step, now in zip(recorder.steps, steps, output.history, strict=False):
        assert torch.equal(step.filled, now.filled) and torch.equal(step.remasked, now.remasked)
        assert torch.equal(step.sequences, now.filled.masked_fill(now.remasked, MASK))
        assert (step.row_passes >= before.row_passes).all()
        going = ~now.critic_logits[:, :1].isnan()
        seen = (now.judged_ids == now.filled) & (now.filled != MASK) & (canvas == MASK)
        expected = model.calibration.error_probability(now.critic_logits).masked_fill(~seen, float("nan"))
        # Of a row that has left, what was known of it stays known.
        known = torch.where(going, expected, before.error_probabilities.to(expected.dtype))
        torch.testing.assert_close(step.error_probabilities, known, equal_nan=True)
    assert torch.equal(last.sequences, output.sequences) and torch.equal(last.row_passes, output.row_passes)
    judged = output.error_probabilities.masked_fill(~last.editable, float("nan"))
    torch.testing.assert_close(last.error_probabilities, judged, equal_nan=True)
    assert not last.error_probabilities[canvas == MASK].isnan().any()


def test_without_a_last_verdict_what_no_pass_has_seen_stays_unknown(model):
    recorder = Recorder()
    generate(model, recorder, remasking="critic", return_error_probabilities=False)
    *_, step, last = recorder.steps
    torch.testing.assert_close(last.error_probabilities, step.error_probabilities, equal_nan=True)
    assert last.error_probabilities[canvas == MASK].isnan().any()


def test_what_an_end_has_cut_off_is_padding_in_the_result(model):
    recorder = Recorder()
    eos = int(generate(model).sequences[1, 4])
    output = generate(model, recorder, eos_token_id=eos)
    last = recorder.steps[-1]
    cut = (canvas == MASK) & (output.sequences == PAD)
    assert cut.any() and not last.attention_mask[cut].any() and not last.editable[cut].any()
    assert last.error_probabilities[cut].isnan().all()


def test_a_generation_that_breaks_off_says_so_and_ends_nothing(model):
    recorder = Recorder()

    def breaks(ids, scores):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(model, recorder, stopping_criteria=[breaks])
    assert recorder.names == ["put", "put_step", "abort"]


@pytest.mark.parametrize("prompt", [[[5, 6, 7]], [[PAD, 6, 7]], [[5, 6, 7], [8, PAD, PAD]]])
def test_the_pieces_a_streamer_gets_make_up_the_sequences(model, prompt):
    recorder = Recorder()
    output = generate(model, recorder, torch.tensor(prompt), max_new_tokens=4, num_steps=2, seed=0)
    assert torch.equal(torch.cat(recorder.told("put"), dim=-1), output.sequences)
    # What all rows have of a prompt, and padding is none of it.
    assert recorder.told("put")[0].shape[1] == min(sum(token != PAD for token in row) for row in prompt)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_block_at_a_random_place_is_a_prompt_only_where_nothing_is_generated_ahead_of_it(model, seed):
    recorder = Recorder()
    case = {"max_new_tokens": 2, "num_steps": 2, "seed_placement": "random", "return_history": True}
    output = generate(model, recorder, torch.tensor([[5, 6]]), **{**case, "seed": seed})
    ahead = 2 if output.history[0].input_ids[0, 0] == 5 else 0
    assert [piece.shape[1] for piece in recorder.told("put")] == [ahead, 4 - ahead]
    assert torch.equal(torch.cat(recorder.told("put"), dim=-1), output.sequences)
    assert [draft.shape[1] for draft in recorder.told("put_draft")] == [4 - ahead] * 2
    assert torch.equal(recorder.told("put_draft")[-1], recorder.told("put")[1])


# ---- Transformers' own ----


def drawn_by(capsys):
    """What a terminal shows in the end of what was printed: drafts take themselves back."""
    return re.sub("\x1b7.*?\x1b8\x1b\\[J", "", capsys.readouterr().out, flags=re.DOTALL)


@pytest.mark.parametrize("prompt", ["the ", "ab[MASK]d[MASK]", ""])
@pytest.mark.parametrize("skip_prompt", [False, True])
def test_the_text_diffusion_streamer_draws_drafts_of_what_is_not_settled_and_leaves_the_text(
    model, tokenizer, capsys, prompt, skip_prompt
):
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)], dtype=torch.long)
    case = {"ids": ids, "seed": 1, "num_steps": 3, **({} if MASK in ids else {"max_new_tokens": 6})}
    output = generate(model, TextDiffusionStreamer(tokenizer, skip_prompt=skip_prompt), **case)
    text = capsys.readouterr().out
    drafts = re.findall("\x1b7\x1b\\[33m(.*?)\x1b\\[0m", text, flags=re.DOTALL)
    given = {"the ": 4, "ab[MASK]d[MASK]": 2, "": 0}[prompt]
    assert len(drafts) == 3 and drafts[-1] == tokenizer.decode(output.sequences[0, given:])
    generate(model, TextDiffusionStreamer(tokenizer, skip_prompt=skip_prompt), **case)
    shown = tokenizer.decode(output.sequences[0, given if skip_prompt else 0 :])
    assert drawn_by(capsys) == shown + "\n"


def test_a_streamer_that_is_read_from_elsewhere_gets_the_text(model, tokenizer):
    streamer = TextIteratorStreamer(tokenizer, timeout=60)
    results = []
    thread = threading.Thread(target=lambda: results.append(generate(model, streamer, canvas[:1], seed=SEEDS[:1])))
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == tokenizer.decode(results[0].sequences[0])


def test_a_streamer_for_one_row_refuses_several_before_anything_is_generated(model, tokenizer):
    with ForwardCounter(model) as counter, pytest.raises(ValueError, match="batch size 1"):
        generate(model, TextDiffusionStreamer(tokenizer))
    assert counter.passes == 0


# ---- in a terminal ----


def console(terminal=True, width=100):
    color = "truecolor" if terminal else None
    return Console(file=io.StringIO(), force_terminal=terminal, color_system=color, width=width)


def test_every_step_of_every_row_is_drawn_coloured_by_error_probability(model, tokenizer):
    drawing, recorder = console(), Recorder()
    generate(model, TerminalStreamer(tokenizer, drawing), remasking="critic")
    output = generate(model, recorder, remasking="critic")
    out = drawing.file.getvalue()
    assert out.count("\n1: ") + out.count("K1: ") + out.count("l1: ") >= 7, "canvas, five steps, result"
    for step in recorder.steps:
        for probability in step.error_probabilities[~step.error_probabilities.isnan()].tolist():
            red, green, blue = (int(error_color(probability)[i : i + 2], 16) for i in (1, 3, 5))
            assert f";48;2;{red};{green};{blue}m" in out
    assert any(step.remasked.any() for step in recorder.steps) and "\x1b[9;30;48;" in out, "struck out"
    assert f"\x1b[2m{MASK_SIGN}" in out and "\x1b[1;36m" in out, "masks are dim, what nobody has judged is bold"
    assert out.endswith("\x1b[?25h"), "the cursor is back"
    # What stands there in the end is the result.
    plain = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", out[out.rindex("\x1b[1A\x1b[2K1: ") :]).split("\n")
    for row, (heading, text) in enumerate(zip(plain[::2], plain[1::2], strict=False)):
        errors = float(output.expected_errors[row])
        assert heading == f"{row + 1}: 5 forward passes; {errors:.2f} wrong tokens expected"
        assert text.strip() == visible(tokenizer.decode(output.sequences[row][canvas[row] != PAD])).strip()


def test_a_file_gets_the_finished_rows_as_plain_lines_however_long_and_the_counting_goes_on(model, tokenizer):
    drawing = console(terminal=False, width=8)
    streamer = TerminalStreamer(tokenizer, drawing)
    outputs = [generate(model, streamer, remasking="none"), generate(model, streamer, remasking="critic")]
    lines = drawing.file.getvalue().splitlines()
    assert len(lines) == 12 and "\x1b" not in drawing.file.getvalue()
    rows = [(output, row) for output in outputs for row in range(3)]
    for number, (output, row) in enumerate(rows, start=1):
        errors = float(output.expected_errors[row])
        assert lines[2 * number - 2] == f"{number}: 5 forward passes; {errors:.2f} wrong tokens expected"
        assert lines[2 * number - 1] == "  " + visible(tokenizer.decode(output.sequences[row][canvas[row] != PAD]))


def test_a_grid_is_drawn_by_its_width_and_a_broken_off_generation_gives_the_terminal_back(model, tokenizer):
    drawing = console(terminal=False)
    generate(model, TerminalStreamer(tokenizer, drawing, row_width=4), canvas[1:2], seed=1)
    assert [len(line) for line in drawing.file.getvalue().splitlines()[1:]] == [6, 6, 6]

    def breaks(ids, scores):
        raise ValueError("so be it")

    for terminal in (True, False):
        drawing = console(terminal)
        streamer = TerminalStreamer(tokenizer, drawing)
        with pytest.raises(ValueError, match="so be it"):
            generate(model, streamer, stopping_criteria=[breaks])
        assert drawing.file.getvalue().endswith("\x1b[?25h") if terminal else not drawing.file.getvalue()
        generate(model, streamer, canvas[:1], seed=1)
        assert "1: 5 forward passes" in drawing.file.getvalue()


def test_a_model_without_a_critic_is_drawn_without_verdicts(tiny_model, tokenizer):
    drawing, recorder, model = console(terminal=False), Recorder(), tiny_model(add_critic_head=False)
    generate(model, recorder, canvas[:1], seed=1)
    assert all(step.error_probabilities is None for step in recorder.steps)
    generate(model, TerminalStreamer(tokenizer, drawing), canvas[:1], seed=1)
    assert drawing.file.getvalue().splitlines()[0] == "1: 5 forward passes"


@pytest.mark.parametrize(("name", "value"), [("row_width", 0), ("sleep_time", -1.0)])
def test_what_cannot_be_drawn_is_refused(tokenizer, name, value):
    with refused(match=f"`{name}` must be at least .*, got {value}: leave it out"):
        TerminalStreamer(tokenizer, **{name: value})


# ---- through the pipeline ----


def test_the_pipeline_hands_a_streamer_on_batch_by_batch_and_gives_the_same_results(model, tokenizer):
    generate = pipeline("critic-diffusion", model=model, tokenizer=tokenizer)
    prompts = ["ab[MASK]d[MASK]", "the ", None]
    case = {"num_steps": 3, "max_new_tokens": None, "seed": 3}
    model.generation_config.max_new_tokens = 6
    plain = generate(prompts, batch_size=2, **case)
    recorder, drawing = Recorder(), console(terminal=False)
    assert generate(prompts, batch_size=2, streamer=recorder, **case) == plain
    assert recorder.names.count("end") == 2
    assert [len(now.sequences) for now, after in pairwise([*recorder.steps, None]) if now.finished] == [2, 1]
    assert all(isinstance(step, StreamedStep) for step in recorder.steps)
    assert generate(prompts, batch_size=2, streamer=TerminalStreamer(tokenizer, drawing), **case) == plain
    texts = [line[2:] for line in drawing.file.getvalue().split("\n") if line.startswith("  ")]
    assert "".join(texts) == "".join(visible(result["generated_text"]) for result in plain)


def test_an_unknown_argument_of_the_pipeline_is_refused_with_the_nearest_name(model, tokenizer):
    generate = pipeline("critic-diffusion", model=model, tokenizer=tokenizer)
    pairs = {"stremer": "streamer", "num_step": "num_steps", "stopping_criterion": "stopping_criteria"}
    for given, wanted in pairs.items():
        with refused(match=f"`{given}` is not an argument .*, got 3: did you mean `{wanted}`"):
            generate("a[MASK]", **{given: 3})
