// Short sentences at the edge of the page, read out by screen readers, with a button where something can be undone.
import { h, button } from "./dom.js";

const MOST = 3; // sentences at once

/**
 * Say a sentence.
 * @param {string} text @param {{action?: string, onaction?: () => void, problem?: boolean}} [more]
 */
export function say(text, more = {}) {
  const place = /** @type {HTMLElement} */ (document.getElementById("said"));
  const gone = () => toast.remove();
  const toast = h("div", { class: more.problem ? "toast problem" : "toast" }, h("span", {}, text),
    more.action && button(more.action, () => { gone(); more.onaction?.(); }),
    button("×", gone, { "aria-label": "Close", class: "plain" }));
  place.append(toast);
  while (place.children.length > MOST) place.firstElementChild?.remove();
  setTimeout(gone, more.problem ? 20000 : 7000);
}

/**
 * Do something that may fail; what the server refuses is said.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T|undefined>}
 */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(String(/** @type {Error} */ (error).message), { problem: true });
    return undefined;
  }
}
