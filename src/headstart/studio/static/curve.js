// The learning curve: how the error falls with the images, its forecast, and the class whose images are worth most.
import { h, fill, button, counted, percent } from "./dom.js";
import { get } from "./api.js";
import { store, on } from "./store.js";
import { attempt } from "./said.js";
import { draw, key } from "./chart.js";

const AT_ONCE = 300; // images up to which the curve is measured unasked: under a second

export function learningCurve() {
  const body = h("div", {});
  const measure = button("Measure the learning curve", show);
  const said = h("p", { class: "muted", role: "status" });
  const element = h("section", { "aria-label": "Learning curve", hidden: true }, h("h2", {}, "Would more images help?"), said, h("p", { class: "row" }, measure), body);
  let busy = false;
  let measured = ""; // revision

  async function show() {
    if (busy) return;
    busy = measure.disabled = true;
    const revision = store.learned?.revision ?? "";
    const found = await attempt(() => get("/api/advice/curve"));
    busy = measure.disabled = false;
    fill(said);
    if (!found) return;
    measured = revision;
    drawCurve(found);
    changed();
  }

  /** @param {any} found */
  function drawCurve(found) {
    const ahead = found.forecasts;
    const sizes = [...found.points.map((/** @type {any} */ one) => one.images), ...ahead.map((/** @type {any} */ one) => one.images)];
    const most = Math.max(...found.points.map((/** @type {any} */ one) => one.error), ...ahead.map((/** @type {any} */ one) => one.high));
    const log = (/** @type {number} */ n) => Math.log2(n);
    const last = found.points[found.points.length - 1];
    const x = [last, ...ahead].map((/** @type {any} */ one) => log(one.images));
    const line = (/** @type {string} */ name) => [last.error, ...ahead.map((/** @type {any} */ one) => one[name])].map((share) => 100 * share);
    const place = h("div", { class: "drawn-chart" });
    draw(place, { title: found.summary, x: "images", xs: [log(Math.min(...sizes)), log(Math.max(...sizes))], ys: [0, Math.max(1, 105 * most)], tick: (value) => Math.round(2 ** value).toLocaleString("en"),
      series: [{ x: found.points.map((/** @type {any} */ one) => log(one.images)), y: found.points.map((/** @type {any} */ one) => 100 * one.error), kind: "line", colour: "s-blue", label: "measured" }, { x: found.points.map((/** @type {any} */ one) => log(one.images)), y: found.points.map((/** @type {any} */ one) => 100 * one.error), kind: "dots", colour: "s-blue", label: "" },
        { x, y: line("error"), kind: "line", colour: "s-orange", label: "forecast" }, { x, y: line("low"), kind: "dashes", colour: "s-orange", label: "90 % band" }, { x, y: line("high"), kind: "dashes", colour: "s-orange", label: "" }] });
    fill(body, place, h("p", { class: "legend-line" }, "Error in %: ", key("s-blue", "measured"), " ", key("s-orange", "forecast, dashed: its 90\u00a0% band")), h("p", {}, found.summary),
      found.gains.length > 0 && h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("caption", {}, "What the second half of each class's images gained, in points of balanced accuracy"), h("tbody", {}, found.gains.map((/** @type {any} */ one) => h("tr", {}, h("th", { scope: "row", class: "name" }, one.name), h("td", { class: "number" }, counted(one.images, "image")), h("td", { class: "number" }, `${points(one.gain.value)} [${points(one.gain.low)}, ${points(one.gain.high)}]`)))))));
  }

  /** @param {number} share @returns {string} */
  function points(share) {
    return `${share < 0 ? "−" : "+"}${percent(Math.abs(share)).slice(0, -2)}`;
  }

  function changed() {
    const learned = store.learned;
    element.hidden = !learned?.accuracy;
    const stale = measured !== (learned?.revision ?? "");
    measure.hidden = !stale;
    if (measured && stale) fill(said, "The images have changed since it was measured.");
    if (!element.hidden && stale && learned.images <= AT_ONCE) show();
  }

  changed();
  const offs = [on("learned", changed), on("advising", (values) => { if (busy && values.step === "learning curve") fill(said, `${values.done} of ${values.total} heads solved`); })];
  return { element, close: () => { for (const off of offs) off(); } };
}
