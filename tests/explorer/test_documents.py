# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the files that travel alone: nothing from elsewhere, nothing that a text could make run."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from critic_gpt.explorer.animation import Recorder, check_animation
from critic_gpt.explorer.documents import document, element, table


class Attributes(HTMLParser):
    """Collects what tags ask for, and refuses those that act."""

    def __init__(self):
        super().__init__()
        self.addresses = set()

    def handle_starttag(self, tag, attrs):
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        self.addresses |= {value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")}


NAMES = ("animation", "proofreading", "report")
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>\u2028\ud800 é"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(said=st.text() | st.just(HOSTILE))
def test_whatever_a_text_says_a_document_is_ascii_and_holds_its_own_scripts_and_styles_alone(name, said):
    made = document(name, said, {"samples": [said], "texts": []}, element("p", said, title=said))
    assert made.isascii()
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", made, flags=re.S)
    assert [kind for kind, _ in scripts] == [' type="application/json" id="data"', ""]
    assert json.loads(scripts[0][1])["samples"] == [said]
    (style,) = re.findall(r"<style>(.*?)</style>", made, flags=re.S)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', made)
    for kind, content in (("script", scripts[1][1]), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    found = Attributes()
    found.feed(made)
    assert found.addresses == {"data:,"} and "url(" not in style


def test_children_and_attributes_are_text_unless_they_are_elements():
    inner = element("b", "<&>")
    assert element("p", inner, "<", class_="a", aria_label='"') == (
        '<p class="a" aria-label="&quot;"><b>&lt;&amp;&gt;</b>&lt;</p>'
    )
    assert "<td>&lt;i&gt;</td>" in table("<", ["a"], [["x", "<i>"]]) and element("img", alt="") == '<img alt="">'


# ---- animations ----


@pytest.fixture
def recorded(tiny_model, tokenizer):
    model = tiny_model().eval()
    recorder = Recorder(tokenizer, row_width=4)
    canvas = torch.full((2, 8), tokenizer.mask_token_id)
    canvas[:, 0] = 5
    output = model.generate(canvas, num_steps=3, seed=0, streamer=recorder, return_dict_in_generate=True)
    return recorder, output


def test_an_animation_goes_from_masks_to_what_was_generated(recorded):
    recorder, output = recorded
    assert len(recorder.samples) == 2
    for row, steps in enumerate(recorder.samples):
        heads, frames = zip(*steps, strict=True)
        assert heads[0].startswith("begin: 7 masks left") and heads[-1].startswith("finished: ")
        assert [token.masked for token in frames[0]] == [False] + [True] * 7
        assert [token.id for token in frames[-1]] == output.sequences[row].tolist()
        chances = [token.error_probability for token in frames[-1]]
        assert chances[0] is None and chances[1:] == pytest.approx(output.error_probabilities[row, 1:].tolist())
        for before, after in pairwise(frames):
            for old, new in zip(before, after, strict=True):
                assert new.filled == (not new.masked and (old.masked or old.remasked or old.id != new.id))


def test_both_kinds_of_files_show_every_step_and_say_which_weights_made_them(recorded, tmp_path):
    recorder, _ = recorded
    steps = len(recorder.samples[0])
    html = recorder.save(tmp_path / "a.html", "a <title>", "0123abc").read_text()
    (data,) = re.findall(r'id="data">(.*?)</script>', html)
    assert [len(frames) for frames in json.loads(data)["samples"]] == [steps] * 2 and "0123abc" in html
    alone = Recorder(recorder.tokenizer, 4)
    alone.samples = recorder.samples[:1]
    content = alone.save(tmp_path / "a.gif", "a title", "0123abc").read_bytes()
    picture = Image.open(io.BytesIO(content))
    assert picture.n_frames == steps and b"0123abc" in content
    shown = []
    for number in range(steps):
        picture.seek(number)
        shown.append(picture.convert("RGB").tobytes())
    assert len(set(shown)) > 2


@pytest.mark.parametrize(
    ("path", "count", "said"),
    [
        ("a.mp4", 1, "must end in .html or .gif, got 'a.mp4'"),
        ("a", 1, "must end in .html or .gif"),
        ("a.gif", 2, "must be .html to show several samples, got 'a.gif' for 2"),
    ],
)
def test_what_could_not_be_written_is_refused_before_the_work(path, count, said):
    with pytest.raises(ValueError, match=f"^`animate` {said}"):
        check_animation(path, count)


def test_a_text_too_long_for_a_picture_is_refused(recorded, tmp_path):
    recorder, _ = recorded
    (heading, tokens), *_ = recorder.samples[0]
    long = Recorder(recorder.tokenizer, 1)
    long.samples = [[(heading, tokens * 20)]]
    with pytest.raises(ValueError, match=r"^`animate` must be .html for a text of more than 100 lines"):
        long.save(tmp_path / "a.gif", "a title")
    assert not (tmp_path / "a.gif").exists()
