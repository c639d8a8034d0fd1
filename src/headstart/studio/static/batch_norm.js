// Batch norm's running statistics: a slider for the momentum and the batch size, computed by PyTorch on the server.
import { h, fill, button } from "./dom.js";
import { get } from "./api.js";
import { attempt } from "./said.js";
import { draw, key } from "./chart.js";
import { numberTable } from "./identity.js";

const BOOK = { momentum: 0.1, batch_size: 64 };
const COLOURS = ["s-blue", "s-orange", "s-3", "s-4"];

export function batchNorm() {
  let touched = false;
  const momentum = h("input", { type: "range", id: "momentum", min: 0.01, max: 1, step: 0.01, value: BOOK.momentum, oninput: changed });
  const size = h("input", { type: "range", id: "size", min: 8, max: 64, step: 1, value: BOOK.batch_size, oninput: changed });
  const said = h("p", { class: "row" });
  const place = h("div", { class: "drawn-chart" });
  const table = h("div", {});
  const words = h("div", {});
  let timer = 0;
  const element = h("section", { class: "card", "aria-label": "Batch norm's running statistics" }, h("h2", {}, "What batch norm remembers"),
    h("p", {}, "In training, batch norm uses the statistics of the batch; for later it stores a moving average: stored ← momentum · batch + (1 − momentum) · stored."),
    h("div", { class: "columns" }, h("div", {}, place, words), h("div", {}, said, h("label", { for: "momentum" }, "Momentum"), momentum, h("label", { for: "size" }, "Batch size"), size, h("p", { class: "row" }, button("The textbook's settings", () => { momentum.value = String(BOOK.momentum); size.value = String(BOOK.batch_size); changed(); })), table)));

  function changed() {
    touched = true;
    clearTimeout(timer);
    timer = window.setTimeout(show, 120);
    label();
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }

  function label() {
    fill(said, h("strong", {}, `momentum ${Number(momentum.value).toFixed(2)}, batches of ${size.value}`));
  }

  async function show() {
    label();
    const found = await attempt(() => get(`/api/lab/batch_norm_1d?${new URLSearchParams({ momentum: momentum.value, batch_size: size.value })}`));
    if (!found) return;
    const book = Number(momentum.value) === BOOK.momentum && Number(size.value) === BOOK.batch_size;
    fill(table, numberTable(found.numbers.filter((/** @type {any} */ one) => book || !one.printed)));
    fill(words, found.interpretation.map((/** @type {string} */ text) => h("p", { class: "small" }, text)));
    const panel = found.panels[found.panels.length - 1];
    const lines = panel.lines.slice(0, 4);
    const xs = lines.flatMap((/** @type {any} */ one) => one.x);
    const ys = lines.flatMap((/** @type {any} */ one) => one.y);
    draw(place, { title: panel.title, x: panel.x_label || "batch", xs: [Math.min(...xs), Math.max(...xs)], ys: [Math.min(...ys), Math.max(...ys)],
      series: lines.map((/** @type {any} */ one, /** @type {number} */ i) => ({ x: one.x, y: one.y, kind: one.style === "dots" ? "dots" : one.style === "dashes" ? "dashes" : "line", colour: COLOURS[i], label: one.name })) });
    place.append(h("p", { class: "legend-line" }, panel.title, ": ", lines.map((/** @type {any} */ one, /** @type {number} */ i) => [key(COLOURS[i], one.name), " "])));
  }

  show();
  return { element, used: () => touched, command: () => `headstart lab batch-norm-1d --set momentum=${momentum.value} --set batch_size=${size.value}`, python: () => `hs.lab.run_experiment("batch_norm_1d", momentum=${momentum.value}, batch_size=${size.value})` };
}
