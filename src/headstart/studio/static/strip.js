// An accuracy with its interval as a small drawing.
import { h } from "./dom.js";

/**
 * A share between 0 and 1 on a line, its interval as a bar.
 * @param {{value: number, low: number, high: number}|null} interval
 */
export function strip(interval) {
  const line = h("span", { class: "strip", "aria-hidden": "true" });
  if (!interval) return line;
  const span = h("i", { class: "span" });
  span.style.left = `${100 * interval.low}%`;
  span.style.width = `${100 * (interval.high - interval.low)}%`;
  const dot = h("i", { class: "dot" });
  dot.style.left = `${100 * interval.value}%`;
  line.append(span, dot);
  return line;
}
