// Texts with what is doubtful in them. Each piece of a text is a string, or a doubt: what stands there `t`, what might
// stand there `r` (a list), P(wrong) `p`, the place `at`, and what kind it is, `k`. A choice is a number of `r`, -1 for
// what stands there, null where nobody has decided.
const { texts } = JSON.parse($("data").textContent);
const doubts = [];
let current = null;

// As on a terminal: no sign hides or turns the text around it.
function visible(text) {
  return text.replace(/\r(?=\n)/g, "").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (sign) => {
    if ("\n\t\u200c\u200d".includes(sign)) return sign;
    return sign < " " ? String.fromCharCode(0x2400 + sign.charCodeAt(0)) : "\ufffd";
  });
}
const quoted = (text) => (text === "" ? "nothing" : `\u201c${visible(text)}\u201d`);
const standing = (doubt) => (doubt.choice === null || doubt.choice < 0 ? doubt.t : doubt.r[doubt.choice]);
const textOf = (text) => text.pieces.map((piece) => (typeof piece === "string" ? piece : standing(piece))).join("");

function says(doubt) {
  const kinds = { hole: "a hole", unknown: "unknown to the model" };
  const chance = doubt.p === undefined ? kinds[doubt.k] : `P(wrong) ${percent(doubt.p)}`;
  const states = doubt.choice === null ? "open" : doubt.choice < 0 ? "rejected" : `accepted: ${quoted(doubt.r[doubt.choice])}`;
  return `${doubt.at}: ${quoted(doubt.t)}, ${chance}, ${states}`;
}

function show(doubt) {
  const element = doubt.element;
  element.classList.toggle("accepted", doubt.choice !== null && doubt.choice >= 0);
  element.classList.toggle("rejected", doubt.choice === -1);
  element.classList.toggle("gap", standing(doubt) === "");
  element.textContent = visible(standing(doubt));
  element.title = says(doubt);
  element.setAttribute("aria-label", element.title);
}

function count() {
  const of = (test) => doubts.filter(test).length;
  const accepted = of((doubt) => doubt.choice !== null && doubt.choice >= 0), rejected = of((doubt) => doubt.choice === -1);
  $("count").textContent = `${doubts.length} doubts: ${accepted} accepted, ${rejected} rejected, `
    + `${doubts.length - accepted - rejected} open`;
}

function decide(doubt, choice) {
  doubt.choice = choice;
  show(doubt);
  if (doubt === current) offer(doubt);
}

function offer(doubt) {
  current = doubt;
  $("choice").hidden = false;
  $("detail").textContent = says(doubt);
  const pick = (words, choice, key) => {
    const button = make("button", { type: "button", onclick: () => (decide(doubt, choice), count(), focusOn(doubt)) }, words, " ",
      make("kbd", {}, key));
    button.setAttribute("aria-pressed", String(doubt.choice === choice));
    button.classList.toggle("main", doubt.choice === choice);
    return button;
  };
  $("choices").replaceChildren(
    ...doubt.r.map((other, i) => pick(`${i ? "" : "accept "}${quoted(other)}`, i, i ? i + 1 : "a")),
    pick(`reject, keep ${quoted(doubt.t)}`, -1, "r"), pick("leave open", null, "u"),
  );
}

function focusOn(doubt) {
  for (const other of doubts) other.element.tabIndex = other === doubt ? 0 : -1;
  doubt.element.focus({ preventScroll: true });
  doubt.element.scrollIntoView({ block: "center" });
}

function step(way) {
  if (!doubts.length) return;
  const at = doubts.indexOf(current);
  focusOn(doubts[at < 0 ? (way > 0 ? 0 : doubts.length - 1) : (at + way + doubts.length) % doubts.length]);
}

function download(text) {
  const address = URL.createObjectURL(new Blob([textOf(text)], { type: "text/plain;charset=utf-8" }));
  make("a", { href: address, download: text.file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function draw(text) {
  const proof = make("div", { className: "proof tokens text" });
  proof.setAttribute("role", "group");
  proof.setAttribute("aria-label", text.name);
  for (const piece of text.pieces) {
    if (typeof piece === "string") {
      proof.append(visible(piece));
      continue;
    }
    const button = make("button", { type: "button", className: "t", tabIndex: doubts.length ? -1 : 0 });
    piece.element = button;
    piece.choice = null;
    piece.text = text;
    if (piece.p === undefined) button.classList.add("m");
    else colour(button, piece.p);
    doubts.push(piece);
    button.addEventListener("focus", () => offer(piece));
    button.addEventListener("click", () => offer(piece));
    show(piece);
    proof.append(button);
  }
  const save = make("button", { type: "button", className: "main", onclick: () => download(text) }, "Download this text");
  return make("section", {}, make("h2", {}, text.name), ...text.notes.map((line) => make("p", { className: "note" }, line)),
    proof, make("p", { className: "row" }, save));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select")) return;
  const choose = (choice) => {
    if (!current || choice >= current.r.length) return;
    decide(current, choice);
    count();
    if (choice !== null) step(1);
  };
  const key = event.key;
  if (key === "n") step(1);
  else if (key === "p") step(-1);
  else if (key === "a") choose(0);
  else if (key === "r") choose(-1);
  else if (key === "u") choose(null);
  else if (/^[1-9]$/.test(key)) choose(Number(key) - 1);
  else if (key === "d" && texts.length) download((current ?? { text: texts[0] }).text);
  else return;
  event.preventDefault();
});
for (const [id, choice] of [["accept-all", 0], ["reject-all", -1], ["open-all", null]]) {
  $(id).addEventListener("click", () => {
    for (const doubt of doubts) if (choice !== 0 || doubt.r.length) decide(doubt, choice);
    count();
  });
}
$("texts").replaceChildren(...texts.map(draw));
drawLegend($("legend"), ["[MASK]"]);
count();
