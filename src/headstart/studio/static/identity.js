// The identity experiment: can relu(wx + b) learn to return x? Without a shortcut it cannot, with one it can. The
// training runs in the page, full batches of gradient descent on the points that can be dragged.
import { h, fill, button } from "./dom.js";
import { get } from "./api.js";
import { attempt } from "./said.js";
import { draw, key, scales } from "./chart.js";

const START = { weight: 0.7, bias: -0.2 }; // both units begin here; any start shows the same
const RATE = 0.1;
/** @type {[number, number]} */ const RANGE = [-3, 3];
/** @type {[number, number]} */ const TALL = [-3, 5];

/** @typedef {{weight: number, bias: number}} Unit */

/** @param {number} x @param {Unit} unit @param {boolean} shortcut */
export function output(x, unit, shortcut) {
  return Math.max(0, unit.weight * x + unit.bias) + (shortcut ? x : 0);
}

/** One step of gradient descent on the mean squared error. @param {number[]} points @param {Unit} unit @param {boolean} shortcut @returns {Unit} */
export function step(points, unit, shortcut) {
  let [dw, db] = [0, 0];
  for (const x of points) {
    if (unit.weight * x + unit.bias <= 0) continue; // an inactive ReLU gets no gradient
    const error = (2 * (output(x, unit, shortcut) - x)) / points.length;
    dw += error * x;
    db += error;
  }
  return { weight: unit.weight - RATE * dw, bias: unit.bias - RATE * db };
}

export function identity() {
  /** @type {number[]} */ let points = [-2.2, -1.6, -1.1, -0.7, -0.3, 0.1, 0.5, 0.9, 1.4, 2.1];
  let units = { plain: { ...START }, shortcut: { ...START } };
  let steps = 0;
  let timer = 0;
  let dragged = -1;
  const place = h("div", { class: "drawn-chart" });
  const numbers = h("div", { class: "scroll", tabindex: "0" });
  const run = button("Train", () => (timer ? pause() : play()), { class: "primary" });
  const shift = h("input", { type: "range", min: -1.5, max: 1.5, step: 0.1, value: 0, id: "shift", oninput: () => { const by = Number(shift.value) - moved; moved += by; points = points.map((x) => clip(x + by)); show(); } });
  let moved = 0;
  const book = h("div", {});
  const element = h("section", { class: "card", "aria-label": "The identity experiment" }, h("h2", {}, "Can a unit learn to do nothing?"),
    h("p", {}, "Each point should come out as it goes in. A unit relu(wx + b) is never negative, so it fails on the left. With a shortcut that adds x, it only has to keep its ReLU inactive."),
    h("div", { class: "columns" }, h("div", {}, place, h("p", { class: "legend-line" }, key("s-orange", "plain"), " ", key("s-blue", "with shortcut; dashed: the identity"))), h("div", {}, numbers, h("p", { class: "row" }, run, button("One step", () => { advance(1); show(); }), button("Start again", restart)),
      h("label", { for: "shift" }, "Move all points"), shift, h("p", { class: "muted small" }, "Points on the axis can be dragged, too."), h("p", { class: "row" }, button("The textbook's run", showBook)), book)));

  /** @param {number} x */
  function clip(x) {
    return Math.max(RANGE[0] + 0.1, Math.min(RANGE[1] - 0.1, x));
  }

  /** @param {number} count */
  function advance(count) {
    for (let i = 0; i < count; i += 1) units = { plain: step(points, units.plain, false), shortcut: step(points, units.shortcut, true) };
    steps += count;
  }

  function play() {
    run.textContent = "Pause";
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    timer = window.setInterval(() => { advance(calm ? 200 : 2); show(); if (steps >= 400) pause(); }, calm ? 500 : 40);
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    run.textContent = "Train";
  }

  function restart() {
    pause();
    units = { plain: { ...START }, shortcut: { ...START } };
    steps = 0;
    show();
  }

  function show() {
    const grid = Array.from({ length: 121 }, (_, i) => RANGE[0] + (i * (RANGE[1] - RANGE[0])) / 120);
    const { plain, shortcut } = units;
    const root = draw(place, {
      title: "Outputs of the units", x: "x", xs: RANGE, ys: TALL,
      series: [{ x: RANGE, y: RANGE, kind: "dashes", colour: "s-muted", label: "identity" },
        { x: grid, y: grid.map((x) => output(x, plain, false)), kind: "line", colour: "s-orange", label: "plain" },
        { x: grid, y: grid.map((x) => output(x, shortcut, true)), kind: "line", colour: "s-blue", label: "with shortcut" },
        { x: points, y: points.map((x) => output(x, plain, false)), kind: "dots", colour: "s-orange", label: "" },
        { x: points, y: points.map((x) => output(x, shortcut, true)), kind: "dots", colour: "s-blue", label: "" },
        { x: points, y: points.map(() => -3), kind: "dots", colour: "s-text", label: "points" }],
    });
    root.addEventListener("pointerdown", (event) => grab(/** @type {PointerEvent} */ (event), root));
    const worst = (/** @type {Unit} */ unit, /** @type {boolean} */ skip) => Math.max(...points.map((x) => Math.abs(output(x, unit, skip) - x)));
    const row = (/** @type {string} */ name, /** @type {Unit} */ unit, /** @type {boolean} */ skip) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "number" }, unit.weight.toFixed(3)), h("td", { class: "number" }, unit.bias.toFixed(3)), h("td", { class: "number" }, worst(unit, skip).toFixed(3)));
    fill(numbers, h("table", {}, h("caption", {}, `After ${steps} steps`), h("thead", {}, h("tr", {}, ["Unit", "Weight", "Bias", "Largest error"].map((text, i) => h("th", { scope: "col", class: i ? "number" : null }, text)))), h("tbody", {}, row("Plain", plain, false), row("With shortcut", shortcut, true))));
  }

  /** @param {PointerEvent} event @param {SVGElement} root */
  function grab(event, root) {
    const value = xOf(event, root);
    dragged = points.reduce((best, x, i) => (Math.abs(x - value) < Math.abs(points[best] - value) ? i : best), 0);
    if (Math.abs(points[dragged] - value) > 0.25) { dragged = -1; return; }
    const move = (/** @type {PointerEvent} */ next) => { points[dragged] = clip(xOf(next, place.firstElementChild ?? root)); show(); };
    const drop = () => { dragged = -1; window.removeEventListener("pointermove", move); };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", drop, { once: true });
  }

  /** @param {PointerEvent} event @param {Element} root */
  function xOf(event, root) {
    const box = root.getBoundingClientRect();
    return scales(RANGE, TALL).back(((event.clientX - box.left) / box.width) * 420);
  }

  async function showBook() {
    fill(book, h("p", { class: "muted", role: "status" }, "PyTorch trains both units: some seconds …"));
    const found = await attempt(() => get("/api/lab/identity"));
    if (!found) fill(book);
    else fill(book, h("p", {}, found.interpretation[0]), numberTable(found.numbers.filter((/** @type {any} */ one) => !/point|output/.test(one.name) || /largest|smallest/.test(one.name))));
  }

  show();
  return { element, close: pause };
}

/** The numbers of an experiment beside those that are expected. @param {any[]} rows */
export function numberTable(rows) {
  return h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("caption", {}, "Computed by PyTorch, beside what is expected"), h("thead", {}, h("tr", {}, ["Number", "Computed", "Expected", "Holds"].map((text, i) => h("th", { scope: "col", class: i === 1 || i === 2 ? "number" : null }, text)))),
    h("tbody", {}, rows.map((one) => h("tr", {}, h("th", { scope: "row" }, one.printed ? `${one.name} (printed in the textbook)` : one.name), h("td", { class: "number" }, one.value.toFixed(4)), h("td", { class: "number" }, `${one.relation === "=" ? "" : `${one.relation} `}${one.expected.toFixed(4)}`), h("td", {}, one.holds ? "yes" : "no"))))));
}
