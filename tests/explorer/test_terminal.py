# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import io
import json
import re

import pytest
import torch
from rich.console import Console

from critic_gpt.explorer import Explorer, critic_view, fill, remask, score, start_from_sample, view_data
from critic_gpt.explorer.drawing import error_color
from critic_gpt.explorer.streaming import TerminalStreamer
from critic_gpt.explorer.terminal import HELP, TerminalSession
from critic_gpt.tasks import SudokuTask, build_character_tokenizer


def play(explorer, *lines, color=False, **begin):
    console = Console(file=io.StringIO(), force_terminal=color, color_system="truecolor" if color else None, width=200)
    session = TerminalSession(explorer, console, **begin)
    session.run(lines)
    return session, console.file.getvalue()


def test_walking_goes_forth_back_and_to_a_number_and_stops_at_the_ends(explorer):
    session, out = play(explorer, "n", "n", "n", "p", "g 0", "p")
    headings = [line for line in out.splitlines() if line.endswith("24 tokens")]
    assert [line.split()[1] for line in headings] == ["0", "1", "2", "1", "0"] and session.index == 0
    assert "`index` must be in [0, 3) for the split 'validation', got 3" in out and "got -1" in out


def test_another_split_begins_at_its_first_sample_and_an_unknown_one_changes_nothing(explorer):
    session, out = play(explorer, "n", "split test", "split nowhere")
    assert session.split == "test" and "test 0 of 1" in out and "`split` must be one of validation, test" in out


def test_by_hand_is_what_the_library_does(explorer):
    session, _ = play(explorer, "m 0.8", "seed 4", "f", "s", "r 3", "f")
    state = start_from_sample(explorer, 0, mask_rate=0.8, seed=4)
    state = fill(explorer, remask(explorer, score(explorer, fill(explorer, state)), count=3))
    assert session.states[-1] == state


def test_back_undoes_acts_and_no_more(explorer):
    session, out = play(explorer, "f", "s", "back", "back", "back")
    assert len(session.states) == 1 and "`back` must follow an act" in out
    assert "action" not in out and "step 0, start" in out


def test_every_way_to_mask_and_unmask(explorer, rows):
    session, out = play(
        explorer, "m 1", "f", "r at 3 4", "u at 3", "f", "r random 5", "u 2", "f", "s", "r threshold 0", "truth 0 1"
    )
    actions = "start fill remask unmask fill remask unmask fill score remask truth"
    assert " ".join(state.action for state in session.states) == actions
    assert session.states[2].changed == (3, 4) and len(session.states[5].changed) == 5
    assert session.states[-1].input_ids[:2] == tuple(rows[0]["input_ids"][:2]) and "must" not in out


def test_the_critic_view_follows_the_threshold_and_json_prints_it(explorer):
    _, out = play(explorer, "m 0.6", "c", "t 0.9", "json")
    data = json.loads(out.splitlines()[-1])
    assert data == view_data(critic_view(explorer, 0, mask_rate=0.6, threshold=0.9))
    assert out.count("judged at threshold") == 2


@pytest.mark.parametrize(
    "bad", ["hop", "g", "g x", "m 2", "t 3", "t", "r", "r 1", "r threshold x", "u at", "gen best", "json", "x", "back"]
)
def test_a_bad_command_is_answered_by_one_sentence_and_the_session_goes_on(explorer, bad):
    session, before = play(explorer)
    session.view = None if bad == "json" else session.view
    assert session.handle(bad) is True
    (answer,) = session.console.file.getvalue()[len(before) :].splitlines()
    assert answer.startswith("`") and answer.endswith(".") and "Traceback" not in answer
    assert session.handle("n") is True and session.index == 1
    assert session.mask_rate is None and session.threshold == 0.5, "nothing of it was kept"


def test_generation_is_shown_step_by_step(explorer):
    session, out = play(explorer, "gen critic_full 3")
    steps = [line.split(":")[0] for line in out.splitlines() if line.startswith("step")]
    assert steps == ["step 0", "step 1", "step 2"]
    assert "critic_full, seed 1: 3 steps, 5 forward passes and 1 to judge" in out
    assert session.view.strategy == "critic_full"


def test_texts_can_be_scored_and_denoised_without_data(explorer):
    explorer = Explorer(explorer.model, explorer.tokenizer)
    session, out = play(explorer, "x ab\n", "d ab[MASK]", "f", "n")
    assert "No data" in out and "2 tokens, 0 masked" in out and "`data_dir` must be given" in out
    assert session.states[-1].input_ids[:2] == tuple(explorer.tokenizer("ab")["input_ids"])


def test_without_colour_there_are_marks_and_with_it_colours(explorer):
    _, plain = play(explorer, "m 1", "c")
    marks = [line for line in plain.splitlines() if line.strip() and set(line) <= set("+x! ")]
    assert "\x1b" not in plain and marks
    session, colored = play(explorer, "m 1", "c", color=True)
    token = next(token for token in session.view.tokens if token.wrong and token.error_probability is not None)
    red, green, blue = (int(error_color(token.error_probability)[i : i + 2], 16) for i in (1, 3, 5))
    assert f"48;2;{red};{green};{blue}" in colored and "\x1b[4;" in colored, "underlined"


@pytest.mark.parametrize("color", [False, True])
def test_no_control_character_of_a_token_reaches_the_terminal(unsure_model, color):
    hostile = build_character_tokenizer("ab\x1b\x9b\x9d\x07\x08\r\x7f\u202e[2J\n", model_max_length=48)
    rows = [{"input_ids": hostile("\x1b[2Ja\x9b2J\x9d\x07b\r\x08\x7f\u202e\n")["input_ids"]}]
    explorer = Explorer(unsure_model, hostile, {"validation": rows})
    commands = ("m 0.5", "c", "t 0", "f", "s", "gen critic_full 3", "x \x1b[2Ja\x9b", "d \x1b[MASK]", "json")
    _, out = play(explorer, *commands, "\x1b]0;x\x07", color=color)
    console = Console(file=io.StringIO(), force_terminal=color, color_system="truecolor" if color else None)
    canvas = torch.tensor([[*rows[0]["input_ids"], hostile.mask_token_id]])
    unsure_model.generate(canvas, num_steps=2, seed=0, streamer=TerminalStreamer(hostile, console))
    # What is left without the colours of our own and the cursor of the live drawing.
    shown = re.sub(r"\x1b\[[\d;]*m", "", out) + re.sub(r"\x1b\[(\?25[hl]|[\d;]*[mKA])|\r", "", console.file.getvalue())
    assert "␛[2J" in shown and "␇" in shown
    assert not set(shown) & {chr(code) for code in (*range(10), *range(11, 32), *range(127, 160), 0x202E)}


def test_a_grid_is_drawn_in_rows_and_data_cannot_move_the_cursor(explorer, tiny_model):
    task = SudokuTask(size=4)
    rows = [{"input_ids": task.tokenizer()("1234341221434321")["input_ids"]}]
    _, out = play(Explorer(tiny_model(), task.tokenizer(), {"validation": rows}, task))
    assert out.splitlines()[1:] == ["  1234", "  3412", "  2143", "  4321"]
    _, out = play(explorer, "hop\x1b[2J")
    assert "\x1b" not in out


def test_help_names_every_command_and_q_ends(explorer):
    session, out = play(explorer, "help", "q", "n")
    assert HELP in out and session.index == 0
    for name in TerminalSession.COMMANDS:
        assert any(name in line[:30] for line in HELP.splitlines()), name


def test_empty_lines_do_nothing(explorer):
    _, out = play(explorer, "", "   ")
    assert out == play(explorer)[1]


def test_a_new_threshold_redraws_a_scored_text(explorer):
    session, out = play(explorer, "x abc", "t 0", "t 1")
    assert session.view.threshold == 1.0 and session.view.num_flagged == 0
    assert "3 flagged at threshold 0;" in out and "0 flagged at threshold 1;" in out
