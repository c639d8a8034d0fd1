// A choice as cards: radio buttons, one of which is on; each card has a title, what it is, and what it takes.
import { h, fill } from "./dom.js";

/** @typedef {{value: string, title: string, about: string, more?: Element}} Card */

/**
 * @param {string} name of the group, unique in the page @param {string} legend @param {() => void} onchange
 */
export function cards(name, legend, onchange) {
  const list = h("div", { class: "cards" });
  const element = h("fieldset", { class: "choice" }, h("legend", {}, legend), list);
  let value = "";

  /** @param {Card[]} found @param {string} chosen */
  function show(found, chosen) {
    value = chosen;
    fill(list, found.map((one) => {
      const radio = h("input", { type: "radio", name, value: one.value, checked: one.value === chosen, "aria-describedby": `${name}-${one.value}`, onchange: () => { value = one.value; onchange(); } });
      return h("div", { class: "option" }, h("label", {}, radio, h("strong", {}, one.title)), h("p", { id: `${name}-${one.value}`, class: "small" }, h("span", { class: "muted" }, one.about), h("span", { class: "takes", "data-takes": one.value })), one.more);
    }));
  }

  /** Say what each card takes. @param {(value: string) => string} words */
  function time(words) {
    for (const place of list.querySelectorAll("[data-takes]")) fill(place, words(/** @type {HTMLElement} */ (place).dataset.takes ?? ""));
  }

  /** @param {string} wanted */
  function choose(wanted) {
    const radio = list.querySelector(`input[value="${CSS.escape(wanted)}"]`);
    if (radio) { radio.checked = true; value = wanted; onchange(); }
  }

  return { element, show, time, choose, value: () => value };
}
