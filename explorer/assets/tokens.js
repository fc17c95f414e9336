// Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
// Tokens as the page and the documents that travel alone draw them. Text from models and data only ever becomes text nodes.
"use strict";

const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function words(token, position, another) {
  const is = (letter) => token.k?.includes(letter);
  const parts = [`position ${position}: ${is("m") ? "[MASK]" : token.s}`];
  if (token.p !== undefined) parts.push(`P(wrong) ${percent(token.p)}`);
  if (token.l !== undefined) parts.push(`logit ${token.l}`);
  if (token.d !== undefined) parts.push(is("w") ? `differs from the sample, which has ${token.d}` : "as in the sample");
  if (is("w") && another) parts.push("valid all the same");
  if (is("f")) parts.push("flagged");
  if (is("r")) parts.push("re-masked");
  if (is("n")) parts.push("new");
  if (is("g")) parts.push("given");
  return parts.join(", ");
}

// P(wrong) as colour, and as an underline for those who see none.
function colour(element, p) {
  element.dataset.p = p;
  element.style.setProperty("--p", p);
  element.dataset.u = p > 0.9 ? 3 : p > 0.5 ? 2 : p > 0.1 ? 1 : 0;
}

function tokenButton(token, position, another, number = true) {
  const button = make("button", { type: "button", tabIndex: -1, title: words(token, position, another) },
    make("span", {}, token.s));
  button.className = ["t", ..."mnrwfg".split("").filter((letter) => token.k?.includes(letter))].join(" ");
  button.setAttribute("aria-label", button.title);
  button.dataset.position = position;
  if (token.p !== undefined) colour(button, token.p);
  if (number) button.append(make("small", {}, token.p === undefined ? "" : String(Math.round(100 * token.p))));
  return button;
}

// A view as `page_data` makes it; `numbers` stand beneath the tokens of a text, too.
function drawView(view, { canvas = false, numbers = false } = {}) {
  const about = view.headings.map((line) => make("p", { className: line.startsWith("another valid") ? "another" : "" }, line));
  const tokens = make("div", { className: `tokens ${view.grid ? "grid" : "text"}` });
  tokens.classList.toggle("canvas", canvas);
  tokens.classList.toggle("numbers", view.grid || numbers);
  tokens.style.setProperty("--columns", Math.max(...view.lines, 1));
  tokens.setAttribute("role", "group");
  tokens.setAttribute("aria-label", "tokens");
  let position = 0;
  for (const length of view.lines) {
    const line = make("span", { className: "line" });
    for (let i = 0; i < length; i++, position++) line.append(tokenButton(view.tokens[position], position, view.another));
    tokens.append(line);
  }
  if (tokens.querySelector(".t")) tokens.querySelector(".t").tabIndex = 0;
  const said = make("div", { className: "said" }, ...about);
  if (view.named.length) {
    const list = make("ul", {}, ...view.named.map((line) => make("li", {}, line)));
    said.append(make("details", { open: !canvas && view.grid }, make("summary", {}, "remarkable tokens"), list));
  }
  return make("div", { className: "view" }, tokens, said);
}

// ---- reading tokens one by one ----

function detail(token) {
  $("detail").textContent = token.title;
}

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

// One token of each text is reached by Tab, the others by arrow keys.
function focusToken(token) {
  for (const other of token.closest(".tokens").querySelectorAll('.t[tabindex="0"]')) other.tabIndex = -1;
  token.tabIndex = 0;
  token.focus();
}

// Arrow keys move from token to token; up and down to the nearest one above or beneath.
function neighbour(token, key) {
  const all = [...token.closest(".tokens").querySelectorAll(".t")];
  const at = all.indexOf(token), box = token.getBoundingClientRect();
  if (key === "ArrowLeft") return all[at - 1];
  if (key === "ArrowRight") return all[at + 1];
  if (key === "Home") return all[0];
  if (key === "End") return all[all.length - 1];
  const above = key === "ArrowUp";
  const line = all.map((other) => other.getBoundingClientRect()).map((other, i) => ({
    i, rows: above ? box.top - other.top : other.top - box.top, aside: Math.abs(other.left - box.left),
  })).filter((other) => other.rows > 2).sort((a, b) => a.rows - b.rows || a.aside - b.aside)[0];
  return line && all[line.i];
}

document.addEventListener("keydown", (event) => {
  const token = event.target.closest?.(".tokens .t");
  if (!token || event.ctrlKey || event.metaKey || event.altKey || !MOVES.includes(event.key)) return;
  event.preventDefault();
  const next = neighbour(token, event.key);
  if (next) focusToken(next);
});
for (const kind of ["focusin", "pointerover", "click"]) {
  document.addEventListener(kind, (event) => {
    const token = event.target.closest?.(".tokens .t");
    if (token) detail(token);
  });
}

// ---- a time line ----

// A button that plays, a slider, and `draw(number, ...)`, which shows one of `count()` frames.
class TimeLine {
  constructor(button, slider, count, draw, pause = 600) {
    Object.assign(this, { button, slider, count, draw, pause, shown: 0, playing: null });
    button.addEventListener("click", () => (this.playing ? this.stop() : this.play(this.shown)));
    slider.addEventListener("input", () => {
      this.stop();
      this.show(Number(slider.value));
    });
  }

  get last() {
    return this.count() - 1;
  }

  show(number, ...more) {
    this.shown = Math.min(Math.max(0, number), this.last);
    this.slider.max = this.last;
    this.slider.value = this.shown;
    this.draw(this.shown, ...more);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    this.button.textContent = "Play";
  }

  play(from) {
    this.stop();
    this.show(from >= this.last ? 0 : from);
    this.button.textContent = "Pause";
    this.playing = setInterval(() => (this.shown < this.last ? this.show(this.shown + 1) : this.stop()), this.pause);
  }
}

const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// ---- the legend ----

const SIGNS = {
  flagged: { s: "a", k: "f" }, "differs from the sample": { s: "a", k: "w" }, "[MASK]": { s: "\u2581", k: "m" },
  new: { s: "a", k: "n" }, "just re-masked": { s: "a", k: "r" }, "given (on the canvas)": { s: "a", k: "g" },
};

// What colours, underlines and the `named` signs say; the swatches are shown and not read aloud.
function drawLegend(element, named = Object.keys(SIGNS)) {
  const item = (token, text) => make("span", { className: "item" }, tokenButton(token, 0, false), text);
  const swatches = [0, 0.25, 0.6, 0.95].map((p) => item({ s: "a", p, k: "" }, `P(wrong) ${100 * p} %`));
  element.replaceChildren(...swatches, ...named.map((name) => item(SIGNS[name], name)));
  for (const token of element.querySelectorAll(".t")) {
    token.disabled = true;
    token.removeAttribute("title");
    token.setAttribute("aria-hidden", "true");
  }
}
