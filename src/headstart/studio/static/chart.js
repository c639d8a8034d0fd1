// Small charts as SVG: lines and dots on two axes, in the colours of the page.

import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420;
const HEIGHT = 260;
const EDGE = { left: 44, right: 10, top: 10, bottom: 36 };

/** @typedef {{x: ArrayLike<number>, y: ArrayLike<number>, kind: "line"|"dots"|"dashes", colour: string, label: string}} Series */

/** @param {string} tag @param {Record<string, string|number>} props @param {string} [text] @returns {SVGElement} */
export function svg(tag, props, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** What a colour stands for; the mark and its words stay on one line. @param {string} colour @param {string} text */
export function key(colour, text) {
  return h("span", { class: "key" }, h("i", { class: colour }), ` ${text}`);
}

/** The two scales of a chart. @param {[number, number]} xs @param {[number, number]} ys */
export function scales(xs, ys) {
  const across = WIDTH - EDGE.left - EDGE.right;
  const down = HEIGHT - EDGE.top - EDGE.bottom;
  return {
    x: (/** @type {number} */ value) => EDGE.left + ((value - xs[0]) / (xs[1] - xs[0] || 1)) * across,
    y: (/** @type {number} */ value) => HEIGHT - EDGE.bottom - ((value - ys[0]) / (ys[1] - ys[0] || 1)) * down,
    back: (/** @type {number} */ pixel) => xs[0] + ((pixel - EDGE.left) / across) * (xs[1] - xs[0]),
  };
}

/**
 * Draw a chart into an element.
 * @param {Element} place
 * @param {{title: string, x: string, series: Series[], xs: [number, number], ys: [number, number], tick?: (value: number) => string}} chart tick: text of a number on the lower axis
 * @returns {SVGElement}
 */
export function draw(place, { title, x: label, series, xs, ys, tick = short }) {
  const at = scales(xs, ys);
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": title });
  for (const value of ticks(ys)) {
    root.append(svg("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: at.y(value), y2: at.y(value), class: "rule" }), svg("text", { x: EDGE.left - 6, y: at.y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of ticks(xs)) root.append(svg("text", { x: at.x(value), y: HEIGHT - 20, "text-anchor": "middle" }, tick(value)));
  root.append(svg("text", { x: WIDTH - EDGE.right, y: HEIGHT - 5, "text-anchor": "end" }, label));
  for (const one of series) {
    const points = Array.from(one.x, (value, i) => [at.x(value), at.y(Math.max(ys[0], Math.min(ys[1], one.y[i])))]);
    if (one.kind === "dots") for (const [px, py] of points) root.append(svg("circle", { cx: px, cy: py, r: 3.2, class: one.colour }));
    else root.append(svg("polyline", { points: points.map((pair) => pair.join(",")).join(" "), class: `${one.colour} ${one.kind}` }));
  }
  place.replaceChildren(root);
  return root;
}

/** @param {[number, number]} range @returns {number[]} */
function ticks([low, high]) {
  const raw = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw) ?? raw;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
  return found;
}

/** @param {number} value @returns {string} */
function short(value) {
  return String(Number(value.toPrecision(3)));
}
