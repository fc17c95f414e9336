// The samples of a report: everything else stands in its HTML.
const { samples } = JSON.parse($("data").textContent);
if ($("samples")) {
  $("samples").replaceChildren(...samples.map((view) => drawView(view)));
  drawLegend($("legend"), ["flagged"]);
} else $("detail").hidden = true;
