// The foot of each page: what the same work is in a terminal and in Python.
import { h, fill, button } from "./dom.js";
import { say } from "./said.js";

/**
 * Show the equivalent lines.
 * @param {Element} place @param {{command: string, python: string}} lines
 */
export function showLines(place, { command, python }) {
  const line = (/** @type {string} */ name, /** @type {string} */ text) => h("div", { class: "line" }, h("span", { class: "muted small" }, name), h("code", {}, text),
    button("Copy", () => { navigator.clipboard.writeText(text).then(() => say("Copied.")); }, { class: "plain small", "aria-label": `Copy the line for ${name}` }));
  fill(place, line("Terminal", command), line("Python", python));
}

/** @param {string} text @returns {string} one word of a shell */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}
