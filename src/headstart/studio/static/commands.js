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
  const whole = (/** @type {string} */ text) => (text.startsWith("hs.") ? `import headstart as hs; ${text}` : text); // runs wherever it is put
  const line = (/** @type {string} */ name, /** @type {string} */ text) => h("div", { class: "line" }, h("span", { class: "muted small" }, name), h("code", {}, text),
    button("Copy", () => { navigator.clipboard.writeText(text).then(() => say("Copied.")); }, { class: "plain small", "aria-label": `Copy the line for ${name}` }));
  fill(place, line("Terminal", command), line("Python", whole(python)), more.length > 0 && h("details", { open }, h("summary", { class: "small" }, "Other actions of this page"),
    more.map(([what, one, other]) => h("section", { "aria-label": what }, h("h2", { class: "small" }, what), line("Terminal", one), line("Python", whole(other))))));
}

/** Options for a terminal and for Python; those that are empty or false are left out. @param {Record<string, string|boolean|undefined>} values @returns {[string, string]} */
export function optionWords(values) {
  const given = Object.entries(values).filter(([, value]) => value);
  return [given.map(([name, value]) => ` --${name}${value === true ? "" : ` ${quoted(String(value))}`}`).join(""),
    given.map(([name, value]) => `, ${name}=${value === true ? "True" : JSON.stringify(value)}`).join("")];
}

/** @param {string} text @returns {string} one word of a shell */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}
