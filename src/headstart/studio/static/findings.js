// What the audit found, with the pictures it is about.
import { h, fill } from "./dom.js";
import { get, picture } from "./api.js";
import { attempt } from "./said.js";

const SHOWN = 8; // pictures of one finding

/**
 * A list of findings.
 * @param {(id: string) => void} onopen
 */
export function findings(onopen) {
  const list = h("div", {});
  const element = h("section", { class: "findings", "aria-label": "Findings of the audit", hidden: true }, h("h2", {}, "Findings"), list);
  const small = (/** @type {string} */ id) => h("button", { type: "button", class: "thumb", "aria-label": "Show the image", onclick: () => onopen(id) }, h("img", { src: picture(id, ""), alt: "" }));

  async function show() {
    const answer = await attempt(() => get("/api/findings"));
    if (!answer) return;
    element.hidden = !answer.findings.length;
    fill(list, answer.findings.map((/** @type {any} */ one) => {
      const ids = [...new Set([...one.ids, ...one.groups.flat()])];
      return h("div", { class: `finding ${one.severity}` }, h("span", { class: "badge" }, one.severity), h("p", {}, one.message),
        ids.length > 0 && h("div", { class: "thumbs" }, ids.slice(0, SHOWN).map(small), ids.length > SHOWN && h("span", { class: "muted small" }, `and ${ids.length - SHOWN} more`)));
    }));
  }

  return { element, show };
}
