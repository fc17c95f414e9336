// A denoising step by step: `samples`, each a list of views.
const { samples } = JSON.parse($("data").textContent);
const frames = () => samples[Number($("sample").value)];

const time = new TimeLine($("play"), $("frame"), () => frames().length, (number) => {
  const had = document.activeElement?.closest?.("#canvas .t")?.dataset.position;
  $("canvas").replaceChildren(drawView(frames()[number], { numbers: $("numbers").checked }));
  $("frame-shown").textContent = `${number + 1} of ${frames().length}`;
  const token = had && $("canvas").querySelector(`.t[data-position="${had}"]`);
  if (token) focusToken(token);
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("button, input, select, summary") || event.ctrlKey || event.metaKey || event.altKey) return;
  const ways = {
    " ": () => (time.playing ? time.stop() : time.play(time.shown)),
    ArrowLeft: () => time.show(time.shown - 1), ArrowRight: () => time.show(time.shown + 1),
    Home: () => time.show(0), End: () => time.show(time.last),
  };
  if (!ways[event.key]) return;
  if (event.key !== " ") time.stop();
  ways[event.key]();
  event.preventDefault();
});

$("sample").replaceChildren(...samples.map((_, i) => make("option", { value: i }, `${i + 1} of ${samples.length}`)));
$("which").hidden = samples.length < 2;
$("sample").addEventListener("change", () => begin());
$("numbers").addEventListener("change", () => time.show(time.shown));
drawLegend($("legend"), ["[MASK]", "new", "just re-masked"]);

function begin() {
  time.stop();
  if (isCalm()) time.show(0);
  else time.play(0);
}
begin();
