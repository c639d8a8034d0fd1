// The foot of each page: what the same work is in a terminal and in Python.
import { h, fill, button } from "./dom.js";
import { say } from "./said.js";

/** @typedef {{command: string, python: string, more?: [what: string, command: string, python: string][]}} Lines */

/**
 * Show the equivalent lines; those of the page's other actions on demand.
 * @param {Element} place @param {Lines} lines
 */
export function showLines(place, { command, python, more = [] }) {
  const open = place.querySelector("details")?.open ?? false;
  const line = (/** @type {string} */ name, /** @type {string} */ text) => h("div", { class: "line" }, h("span", { class: "muted small" }, name), h("code", {}, text),
    button("Copy", () => { navigator.clipboard.writeText(text).then(() => say("Copied.")); }, { class: "plain small", "aria-label": `Copy the line for ${name}` }));
  fill(place, line("Terminal", command), line("Python", python), more.length > 0 && h("details", { open }, h("summary", { class: "small" }, "Other actions of this page"),
    more.map(([what, one, other]) => h("section", { "aria-label": what }, h("h2", { class: "small" }, what), line("Terminal", one), line("Python", other)))));
}

/** @param {string} text @returns {string} one word of a shell */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}
