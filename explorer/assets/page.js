// Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
// The page asks the server for plain data and draws them; tokens.js, which comes before, draws tokens.
"use strict";

const page = crypto.getRandomValues(new Uint32Array(4)).join("-");
let about = null;
let requests = Promise.resolve(); // one after the other
let frames = []; // of the canvas: {view, state}, the state only where one can go on

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

function drawInto(panel, views) {
  $(panel).querySelector(".result").replaceChildren(...views.map((view) => drawView(view, { numbers: $("numbers").checked })));
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

const time = new TimeLine($("play"), $("frame"), () => frames.length, drawFrame);
const isEditable = () => time.shown === time.last;

function drawFrame(number, focused) {
  const had = focused ?? Number(document.activeElement?.closest?.("#canvas .t")?.dataset.position ?? NaN);
  const folded = !$("canvas").querySelector("details")?.open;
  $("canvas").replaceChildren(drawView(frames[number].view, { canvas: true, numbers: $("numbers").checked }));
  $("canvas").firstChild.classList.toggle("earlier", !isEditable());
  if (!folded && $("canvas").querySelector("details")) $("canvas").querySelector("details").open = true;
  const note = isEditable() || time.playing ? "" : ": the last one can be edited";
  $("frame-shown").textContent = `${number + 1} of ${frames.length}${note}`;
  $("undo").disabled = frames.filter((frame) => frame.state).length < 2;
  const token = $("canvas").querySelector(`.t[data-position="${had}"]`);
  if (token) focusToken(token);
}

function beginWith(fields) {
  time.stop();
  return ask("denoise", "begin", fields, (answer) => {
    frames = [answer];
    time.show(0);
  });
}
const beginCanvas = () => Object.keys(about.splits).length ? beginWith(place) : beginEmpty();
const beginEmpty = () => beginWith(() => ({ text: about.first_canvas, ...settings() }));

const lastState = () => frames.findLast((frame) => frame.state)?.state;

function act(name, fields, focused) {
  time.stop();
  return ask("denoise", "act", () => ({ act: name, state: lastState(), ...settings(), ...fields }), (answer) => {
    frames.push(answer);
    time.show(time.last, focused);
  });
}

function generate() {
  time.stop();
  const fields = () => ({ state: lastState(), strategy: $("strategy").value, num_steps: numberOf("steps"), ...settings() });
  return ask("denoise", "generate", fields, (answer) => {
    const first = frames.length;
    frames.push(...answer.frames.map((view) => ({ view })), { view: answer.view, state: answer.state });
    if (isCalm()) time.show(time.last);
    else time.play(first);
  });
}

function undo() {
  time.stop();
  frames.pop();
  while (!frames[frames.length - 1].state) frames.pop();
  time.show(time.last);
}

$("canvas").addEventListener("click", (event) => {
  const token = event.target.closest(".canvas .t");
  if (!token || !isEditable()) return;
  const tool = document.querySelector("[name=tool]:checked").value, position = Number(token.dataset.position);
  act(tool, { positions: [position], token: $("token").value }, position);
});

document.addEventListener("keydown", (event) => {
  const token = event.target.closest?.(".canvas .t");
  if (!token || !isEditable() || event.ctrlKey || event.metaKey || event.altKey) return;
  const position = Number(token.dataset.position);
  if (event.key === "Delete" || event.key === "Backspace") act("mask", { positions: [position] }, position);
  else if (event.key.length === 1 && event.key !== " ") act("set", { positions: [position], token: event.key }, position);
  else return;
  event.preventDefault();
});

// ---- the beginning ----

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
  else if (!$("denoise").hidden && frames.length) time.show(time.shown);
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
  drawLegend($("legend"));
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
$("acts").addEventListener("click", (event) => {
  const name = event.target.dataset?.act;
  if (name) act(name, { count: numberOf("count") });
});
begin().catch((problem) => { $("facts").textContent = problem.message; });
