// Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
// The page asks the server for plain data and draws them. Text from models and data only ever becomes text nodes.
"use strict";

const $ = (id) => document.getElementById(id);
const page = crypto.getRandomValues(new Uint32Array(4)).join("-");
let about = null;
let requests = Promise.resolve(); // one after the other
let frames = []; // of the canvas: {view, state}, the state only where one can go on
let shown = 0, playing = null;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- asking ----

async function send(name, fields) {
  const options = name === "about" ? {} : {
    method: "POST", body: JSON.stringify(fields), headers: { "content-type": "application/json", "x-page": page },
  };
  const response = await fetch(`api/${name}`, options);
  const told = await response.text();
  if (response.headers.get("content-type").startsWith("application/json")) {
    const answer = JSON.parse(told);
    if (response.ok) return answer;
    throw new Error(answer.error);
  }
  throw new Error(told);
}

function ask(panel, name, fields, use) {
  requests = requests.then(async () => {
    const error = $(panel).querySelector(".error");
    $(panel).setAttribute("aria-busy", "true");
    try {
      use(await send(name, typeof fields === "function" ? fields() : fields));
      error.textContent = "";
    } catch (problem) {
      error.textContent = problem instanceof TypeError ? "The server does not answer: is it still running?" : problem.message;
    } finally {
      $(panel).setAttribute("aria-busy", "false");
    }
  });
  return requests;
}

const numberOf = (id) => ($(id).value === "" ? null : Number($(id).value));
const settings = () => ({ seed: numberOf("seed"), threshold: numberOf("threshold") });
const place = () => ({
  split: $("split").value, index: numberOf("index"), mask_rate: $("drawn").checked ? null : numberOf("rate"), ...settings(),
});

// ---- drawing ----

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

function tokenButton(token, position, another, number = true) {
  const button = make("button", { type: "button", tabIndex: -1, title: words(token, position, another) },
    make("span", {}, token.s));
  button.className = ["t", ..."mnrwfg".split("").filter((letter) => token.k?.includes(letter))].join(" ");
  button.setAttribute("aria-label", button.title);
  button.dataset.position = position;
  if (token.p !== undefined) {
    button.dataset.p = token.p;
    button.style.setProperty("--p", token.p);
    button.dataset.u = token.p > 0.9 ? 3 : token.p > 0.5 ? 2 : token.p > 0.1 ? 1 : 0;
  }
  if (number) button.append(make("small", {}, token.p === undefined ? "" : String(Math.round(100 * token.p))));
  return button;
}

function drawView(view, canvas = false) {
  const about = view.headings.map((line) => make("p", { className: line.startsWith("another valid") ? "another" : "" }, line));
  const tokens = make("div", { className: `tokens ${view.grid ? "grid" : "text"}` });
  tokens.classList.toggle("canvas", canvas);
  tokens.classList.toggle("numbers", view.grid || $("numbers").checked);
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

function drawInto(panel, views) {
  $(panel).querySelector(".result").replaceChildren(...views.map((view) => drawView(view)));
}

function detail(token) {
  $("detail").textContent = token.title;
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
  if (!token || event.ctrlKey || event.metaKey || event.altKey) return;
  if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
    const next = neighbour(token, event.key);
    event.preventDefault();
    if (!next) return;
    token.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  } else if (token.closest(".canvas") && shown === frames.length - 1) {
    const position = Number(token.dataset.position);
    if (event.key === "Delete" || event.key === "Backspace") act("mask", { positions: [position] }, position);
    else if (event.key.length === 1 && event.key !== " ") act("set", { positions: [position], token: event.key }, position);
    else return;
    event.preventDefault();
  }
});
for (const kind of ["focusin", "pointerover", "click"]) {
  document.addEventListener(kind, (event) => {
    const token = event.target.closest?.(".tokens .t");
    if (token) detail(token);
  });
}

// ---- the tabs ----

const tabs = [...document.querySelectorAll("[role=tab]")];
function open(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  $(tab.getAttribute("aria-controls")).querySelector(".error").before($("signs"));
  if (tab.id === "tab-denoise" && !frames.length) beginCanvas();
}
for (const tab of tabs) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    const usable = tabs.filter((other) => !other.hidden);
    const next = usable[(usable.indexOf(tab) + way + usable.length) % usable.length];
    next.focus();
    open(next);
  });
}

// ---- judging ----

const judge = () => about.critic
  ? ask("judge", "critic", place, (answer) => drawInto("judge", answer.views)) : look();
const look = () => ask("judge", "sample", place, (answer) => drawInto("judge", answer.views));
const judgeText = () => ask("text", "text", () => ({ text: $("written").value, ...settings() }),
  (answer) => drawInto("text", answer.views));

// ---- the canvas ----

function show(number, focused) {
  shown = Math.min(Math.max(0, number), frames.length - 1);
  const last = shown === frames.length - 1;
  const had = focused ?? Number(document.activeElement?.closest?.("#canvas .t")?.dataset.position ?? NaN);
  const folded = !$("canvas").querySelector("details")?.open;
  $("canvas").replaceChildren(drawView(frames[shown].view, true));
  $("canvas").firstChild.classList.toggle("earlier", !last);
  if (!folded && $("canvas").querySelector("details")) $("canvas").querySelector("details").open = true;
  $("frame").max = frames.length - 1;
  $("frame").value = shown;
  $("frame-shown").textContent = `${shown + 1} of ${frames.length}` + (last || playing ? "" : ": the last one can be edited");
  $("undo").disabled = frames.filter((frame) => frame.state).length < 2;
  const token = $("canvas").querySelector(`.t[data-position="${had}"]`);
  if (token) {
    $("canvas").querySelector('.t[tabindex="0"]').tabIndex = -1;
    token.tabIndex = 0;
    token.focus();
  }
}

function stop() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
}

function play(from) {
  stop();
  show(from >= frames.length - 1 ? 0 : from);
  $("play").textContent = "Pause";
  playing = setInterval(() => (shown < frames.length - 1 ? show(shown + 1) : stop()), 600);
}

function beginWith(fields) {
  stop();
  return ask("denoise", "begin", fields, (answer) => {
    frames = [answer];
    show(0);
  });
}
const beginCanvas = () => Object.keys(about.splits).length ? beginWith(place) : beginEmpty();
const beginEmpty = () => beginWith(() => ({ text: about.first_canvas, ...settings() }));

const lastState = () => frames.findLast((frame) => frame.state)?.state;

function act(name, fields, focused) {
  stop();
  return ask("denoise", "act", () => ({ act: name, state: lastState(), ...settings(), ...fields }), (answer) => {
    frames.push(answer);
    show(frames.length - 1, focused);
  });
}

function generate() {
  stop();
  const fields = () => ({ state: lastState(), strategy: $("strategy").value, num_steps: numberOf("steps"), ...settings() });
  return ask("denoise", "generate", fields, (answer) => {
    const first = frames.length;
    frames.push(...answer.frames.map((view) => ({ view })), { view: answer.view, state: answer.state });
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) show(frames.length - 1);
    else play(first);
  });
}

function undo() {
  stop();
  frames.pop();
  while (!frames[frames.length - 1].state) frames.pop();
  show(frames.length - 1);
}

$("canvas").addEventListener("click", (event) => {
  const token = event.target.closest(".canvas .t");
  if (!token || shown < frames.length - 1) return;
  const tool = document.querySelector("[name=tool]:checked").value, position = Number(token.dataset.position);
  act(tool, { positions: [position], token: $("token").value }, position);
});

// ---- the beginning ----

function legend() {
  const item = (token, text) => make("span", { className: "item" }, tokenButton(token, 0, false), text);
  const swatches = [0, 0.25, 0.6, 0.95].map((p) => item({ s: "a", p, k: "" }, `P(wrong) ${100 * p} %`));
  const signs = [
    [{ s: "a", k: "f" }, "flagged"], [{ s: "a", k: "w" }, "differs from the sample"], [{ s: "▁", k: "m" }, "[MASK]"],
    [{ s: "a", k: "n" }, "new"], [{ s: "a", k: "r" }, "just re-masked"], [{ s: "a", k: "g" }, "given (on the canvas)"],
  ].map(([token, text]) => item(token, text));
  $("legend").replaceChildren(...swatches, ...signs);
  for (const token of $("legend").querySelectorAll(".t")) {
    token.disabled = true;
    token.removeAttribute("title");
    token.setAttribute("aria-hidden", "true");
  }
}

function showSettings() {
  $("rate").disabled = $("drawn").checked;
  $("rate-shown").textContent = $("drawn").checked ? "" : `${Math.round(100 * $("rate").value)} %`;
  $("threshold-shown").textContent = Number($("threshold").value).toFixed(2);
  $("strategy-line").textContent = about.strategies[$("strategy").value];
}

function placeChanged() {
  showSettings();
  if (!$("judge").hidden) judge();
  else if (!$("denoise").hidden) beginCanvas();
}

function redraw() {
  showSettings();
  if (!$("judge").hidden) judge();
  else if (!$("text").hidden && $("written").value) judgeText();
  else if (!$("denoise").hidden && frames.length) show(shown);
}

async function begin() {
  about = await send("about");
  document.title = `${about.name} · critic_gpt explorer`;
  $("name").textContent = about.name;
  $("facts").textContent = about.facts.join(" · ");
  const splits = Object.keys(about.splits), first = about.begin;
  $("split").replaceChildren(...splits.map((name) => make("option", { value: name }, `${name} (${about.splits[name]})`)));
  $("split").value = splits.includes(first.split) ? first.split : splits[0] ?? "";
  $("index").value = first.index;
  $("rate").value = first.mask_rate ?? 0.5;
  $("drawn").checked = first.mask_rate === null;
  $("seed").value = first.seed;
  $("threshold").value = first.threshold;
  $("steps").max = about.max_steps;
  $("strategy").replaceChildren(...Object.keys(about.strategies).map((name) => make("option", { value: name }, name)));
  $("tokens").replaceChildren(...about.tokens.map((token) => make("option", { value: token })));
  for (const button of document.querySelectorAll(".critic")) button.hidden = !about.critic;
  $("do-judge").hidden = !about.critic;
  $("tab-text").hidden = !about.critic;
  legend();
  $("signs").open = matchMedia("(min-width: 45rem)").matches;
  showSettings();
  if (splits.length) {
    open($("tab-judge"));
    judge();
  } else {
    $("place").hidden = $("tab-judge").hidden = $("do-begin").hidden = true;
    open($("tab-denoise"));
    generate();
  }
}

for (const id of ["split", "index", "rate", "drawn", "seed"]) $(id).addEventListener("change", placeChanged);
$("rate").addEventListener("input", showSettings);
$("threshold").addEventListener("input", showSettings);
$("threshold").addEventListener("change", redraw);
$("numbers").addEventListener("change", redraw);
$("strategy").addEventListener("change", showSettings);
for (const [id, way] of [["previous", -1], ["next", 1]]) {
  $(id).addEventListener("click", () => {
    const size = about.splits[$("split").value];
    $("index").value = (Number($("index").value) + way + size) % size;
    placeChanged();
  });
}
$("do-judge").addEventListener("click", judge);
$("do-look").addEventListener("click", look);
$("do-text").addEventListener("click", judgeText);
$("do-begin").addEventListener("click", () => beginWith(place));
$("do-empty").addEventListener("click", beginEmpty);
$("do-text-begin").addEventListener("click", () => beginWith(() => ({ text: $("canvas-text").value, ...settings() })));
$("do-generate").addEventListener("click", generate);
$("undo").addEventListener("click", undo);
$("play").addEventListener("click", () => (playing ? stop() : play(shown)));
$("frame").addEventListener("input", () => {
  stop();
  show(Number($("frame").value));
});
$("acts").addEventListener("click", (event) => {
  const name = event.target.dataset?.act;
  if (name) act(name, { count: numberOf("count") });
});
begin().catch((problem) => { $("facts").textContent = problem.message; });
