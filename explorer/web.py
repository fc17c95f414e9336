# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The explorer as a page on this machine, drawn by gradio: nothing is shared, counted or fetched from elsewhere."""

import os
from collections.abc import Callable
from typing import Any


# Read when gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    import gradio as gr
    from starlette.middleware import Middleware
except ImportError as error:
    raise ImportError("`gradio` must be installed for the page, got none: pip install critic_gpt[web].") from error

from critic_gpt.evaluation.competitors import left_out
from critic_gpt.explorer import denoising, denoising_views, views
from critic_gpt.explorer.denoising import DenoisingState
from critic_gpt.explorer.guard import (
    AT_A_TIME,
    MAX_STATES,
    MAX_STEPS,
    BusyError,
    Guard,
    Turns,
    check_length,
    whole_number,
)
from critic_gpt.explorer.markup import error_html, view_html
from critic_gpt.explorer.session import Explorer
from critic_gpt.generation.declarations import remasking_names


# Requests that may wait; visitors and seconds that are remembered.
MAX_WAITING, SESSIONS, FORGOTTEN = 64, 256, 3600
ACTS = ("fill", "score", "mask worst again", "mask above threshold", "mask random", "unmask", "put truth", "back")
LEGEND = (
    "Colour: P(wrong), green to red; blue: new from the model. Underlined: differs from the truth. Framed: flagged. "
    "Struck out: masked again. Hover over a token for its numbers."
)
# Families that are on every machine: a font of the web would be a call to it.
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


def page_strategies(model: Any) -> list[str]:
    """The strategies that the page offers: those that the model can follow, without an outside model to name."""
    offered = [name for name in remasking_names() if name not in ("auto", "external")]
    return ["auto", *(name for name in offered if left_out(model, {"remasking": name}) is None)]


def _guarded(draw: Callable[[], Any]) -> Any:
    """What `draw` gives, or the sentence of its error as HTML."""
    try:
        return draw()
    except (ValueError, OSError) as error:
        return error_html(error)


def _in_turn(turns: Turns, answer: Callable) -> Callable:
    """A callback of the model's, of which each visitor gets a share at a time."""

    def answered(request: gr.Request, *fields):
        try:
            with turns.turn(request.client.host, request.session_hash or ""):
                return answer(*fields)
        except BusyError as error:
            raise gr.Error(str(error)) from None

    return answered


class Page:
    """
    The callbacks of the page: plain functions of what stands in its fields, giving HTML. What a visitor has done so
    far travels with the visitor, so that two of them do not meet.

    Args:
        explorer ([`Explorer`]): What is explored.
    """

    def __init__(self, explorer: Explorer):
        self.explorer = explorer

    def sample(self, split: str, index: float, rate: float | None, seed: float) -> str:
        """The clean example above the corrupted one."""

        def draw() -> str:
            place = (whole_number("index", index), split)
            clean = views.sample_view(self.explorer, *place)
            masked = views.corrupted_view(self.explorer, *place, rate, whole_number("seed", seed))
            return view_html(clean) + view_html(masked)

        return _guarded(draw)

    def critic(self, split: str, index: float, rate: float | None, seed: float, threshold: float) -> str:
        """The critic view."""

        def draw() -> str:
            place = (whole_number("index", index), split, rate, whole_number("seed", seed))
            return view_html(views.critic_view(self.explorer, *place, threshold))

        return _guarded(draw)

    def text(self, text: str, threshold: float) -> str:
        """A text under the critic's eyes."""
        return _guarded(lambda: view_html(views.text_view(self.explorer, check_length("text", text), threshold)))

    def _start(self, split: str, index: float, rate: float | None, seed: float, text: str) -> DenoisingState:
        seed = whole_number("seed", seed)
        if check_length("text", text):
            return denoising.start_from_text(self.explorer, text, seed)
        return denoising.start_from_sample(self.explorer, whole_number("index", index), split, rate, seed)

    def begin(self, split: str, index: float, rate: float | None, seed: float, text: str) -> tuple[tuple, str]:
        """Begins by hand, with the text if there is one, else with the sample; the acts so far, and HTML."""
        try:
            states = (self._start(split, index, rate, seed, text),)
        except ValueError as error:
            return (), error_html(error)
        return states, view_html(denoising_views.denoising_view(self.explorer, states[0]))

    def act(self, act: str, states: tuple, count: float, positions: str, threshold: float) -> tuple[tuple, str]:
        """One act by hand; at the positions, if there are any, else as many as counted."""
        try:
            acted = self._acted(act, states, whole_number("how many", count), _positions(positions), threshold)
            states = acted[-MAX_STATES:]
            return states, view_html(denoising_views.denoising_view(self.explorer, states[-1], threshold))
        except ValueError as error:
            return states, error_html(error)

    def _acted(self, act: str, states: tuple, count: int, positions: list[int], threshold: float) -> tuple:
        if not states:
            raise ValueError("`begin` must come before an act, got no tokens yet: press it.")
        explorer, state = self.explorer, states[-1]
        if act == "back":
            return states[:-1] if len(states) > 1 else states
        if act == "fill":
            return (*states, denoising.fill(explorer, state))
        if act == "score":
            return (*states, denoising.score(explorer, state))
        if act == "unmask":
            chosen = {"positions": positions} if positions else {"count": count}
            return (*states, denoising.unmask(explorer, state, **chosen))
        if act == "put truth":
            return (*states, denoising.reveal_truth(explorer, state, positions))
        if act == "mask above threshold":
            return (*states, denoising.remask(explorer, state, "threshold", threshold=threshold))
        by = "positions" if positions else {"mask worst again": "critic", "mask random": "random"}[act]
        return (*states, denoising.remask(explorer, state, by, count, positions=positions))

    def generate(
        self, split: str, index: float, rate: float | None, seed: float, text: str, threshold: float, how: str, steps
    ) -> tuple[Any, str, str]:
        """Generates; the view, the HTML of the end, and that of the first step."""
        try:
            state = self._start(split, index, rate, seed, text)
            options = {"remasking": how, "num_steps": whole_number("num_steps", steps, MAX_STEPS)}
            view = denoising_views.generation_view(self.explorer, state, threshold, **options)
        except ValueError as error:
            return None, error_html(error), ""
        return view, view_html(view), self.step(view, 0)

    def step(self, view: Any, number: float) -> str:
        """One step of a generation."""
        if view is None or not view.steps:
            return ""
        return view_html(view.steps[min(max(0, whole_number("step", number)), len(view.steps) - 1)])


def _positions(text: str) -> list[int]:
    """Whole numbers between blanks or commas."""
    try:
        return [int(word) for word in check_length("positions", text).replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"`positions` must be whole numbers, got {text!r:.40}: write 3 5 8.") from None


def build_page(
    explorer: Explorer,
    split: str = "validation",
    index: int = 0,
    mask_rate: float | None = None,
    seed: int = 1,
    threshold: float = 0.5,
) -> gr.Blocks:
    """
    The page.

    Args:
        explorer ([`Explorer`]): What is explored.
        split, index, mask_rate, seed, threshold: What stands in the fields at first.

    Returns:
        `gradio.Blocks`: Not served yet.
    """
    page, names, turns = Page(explorer), explorer.split_names(), Turns()
    with gr.Blocks(title="critic_gpt explorer", analytics_enabled=False) as blocks:
        with gr.Row():
            first = split if split in names else next(iter(names), None)
            place = [
                gr.Dropdown(names, value=first, label="split"),
                gr.Number(index, precision=0, minimum=0, label="index"),
                gr.Number(mask_rate, minimum=0, maximum=1, label="mask rate (empty: drawn as in evaluation)"),
                gr.Number(seed, precision=0, label="seed"),
            ]
            level = gr.Slider(0, 1, threshold, step=0.01, label="threshold of P(wrong)")
        gr.Markdown(LEGEND)
        with gr.Tab("Sample"):
            shown = gr.HTML()
            gr.Button("show").click(page.sample, place, shown, api_name="sample")
        with gr.Tab("Critic"):
            judged = gr.HTML()
            gr.Button("fill and judge").click(_in_turn(turns, page.critic), [*place, level], judged, api_name="critic")
        with gr.Tab("Denoise by hand"):
            _denoising_tab(page, turns, place, level)
        with gr.Tab("Generate"):
            _generation_tab(page, turns, place, level)
        with gr.Tab("Score a text"):
            written, verdict = gr.Textbox(label="text; [MASK] is a hole", lines=3), gr.HTML()
            gr.Button("score").click(_in_turn(turns, page.text), [written, level], verdict, api_name="text")
    return blocks


def _denoising_tab(page: Page, turns: Turns, place: list, level) -> None:
    states = gr.State((), time_to_live=FORGOTTEN)
    text = gr.Textbox(label="begin with this text with [MASK] (empty: with the sample)")
    begin = gr.Button("begin")
    with gr.Row():
        count = gr.Number(1, precision=0, minimum=0, label="how many")
        positions = gr.Textbox(label="or at these positions")
    drawn = gr.HTML()
    begin.click(page.begin, [*place, text], [states, drawn], api_name="begin")
    with gr.Row():
        for act in ACTS:
            name = act.replace(" ", "_")
            inputs, outputs = [states, count, positions, level], [states, drawn]
            gr.Button(act).click(_in_turn(turns, _act(page, act)), inputs, outputs, api_name=name)


def _act(page: Page, act: str) -> Callable:
    """The callback of one button."""
    return lambda states, count, positions, threshold: page.act(act, states, count, positions, threshold)


def _generation_tab(page: Page, turns: Turns, place: list, level) -> None:
    view = gr.State(None, time_to_live=FORGOTTEN)
    text = gr.Textbox(label="a text with [MASK] (empty: the sample)")
    with gr.Row():
        how = gr.Dropdown(page_strategies(page.explorer.model), value="auto", label="strategy")
        steps = gr.Number(8, precision=0, minimum=1, maximum=MAX_STEPS, label="steps")
    button, end = gr.Button("generate"), gr.HTML()
    slider, step = gr.Slider(0, 1, 0, step=1, label="step"), gr.HTML()

    def generate(*fields):
        made, finished, first = page.generate(*fields)
        last = 1 if made is None else max(1, len(made.steps) - 1)
        return made, finished, first, gr.Slider(0, last, 0, step=1, label="step")

    inputs = [*place, text, level, how, steps]
    button.click(_in_turn(turns, generate), inputs, [view, end, step, slider], api_name="generate")
    slider.change(page.step, [view, slider], step, api_name="step")


def serve(explorer: Explorer, host: str = "127.0.0.1", port: int = 7860, wait: bool = True, **begin) -> gr.Blocks:
    """
    Serves the page until interrupted.

    Args:
        explorer ([`Explorer`]): What is explored.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): Address; anything but this machine opens it to others.
        port (`int`, *optional*, defaults to 7860): 0 takes any that is free.
        wait (`bool`, *optional*, defaults to `True`): `False` returns at once; `close()` what it returns.
        begin: As for [`build_page`].

    Returns:
        `gradio.Blocks`.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"`port` must be in [0, 65536), got {port}: 0 takes any that is free.")
    blocks = build_page(explorer, **begin)
    # Several at a time of each button, so that nobody waits for one visitor's generation; not more than are answered.
    blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=AT_A_TIME, api_open=True)
    blocks.launch(
        server_name=host,
        server_port=port or None,
        share=False,
        quiet=True,
        ssr_mode=False,
        theme=gr.themes.Base(**FONTS),
        prevent_thread_lock=True,
        max_file_size=0,
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        app_kwargs={"middleware": [Middleware(Guard, served_at=host)]},
    )
    if wait:
        print(f"The explorer is at {blocks.local_url} (Ctrl-C ends it).", flush=True)
        blocks.block_thread()
    return blocks
