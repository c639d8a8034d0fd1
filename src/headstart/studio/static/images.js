// Pictures in a row or a grid, each a button that shows it large.
import { h, button, percent } from "./dom.js";
import { drawn, picture } from "./api.js";
import { attempt } from "./said.js";

/** @typedef {{id: string, version: string, name: string, label: string, predicted: string, probability: number}} Judged */

/**
 * Show an image large, with its heat map when asked for.
 * @param {string} id @param {string} version @param {string} name
 */
export function enlarge(id, version, name) {
  const image = h("img", { src: picture(id, version, "large"), alt: name });
  const why = button("Heat map", async () => {
    why.disabled = true;
    const made = await attempt(() => drawn(`/api/explain/${id}`, { model: "live" }));
    if (made) { image.src = made; image.alt = `Heat map of the evidence in ${name || "the image"}`; } else why.disabled = false;
  });
  const dialog = h("dialog", { class: "large", "aria-label": name || "Image" }, image, h("p", { class: "row" }, h("span", { class: "grow name" }, name), why, button("Close", () => dialog.close())));
  dialog.addEventListener("close", () => { if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {Judged[]} images */
export function judged(images) {
  return h("ul", { class: "judged" }, images.map((one) => h("li", {},
    h("button", { type: "button", class: "frame", "aria-label": `Show ${one.name}`, onclick: () => enlarge(one.id, one.version, one.name) }, h("img", { src: picture(one.id, one.version), alt: "", loading: "lazy" })),
    h("span", { class: "name" }, one.label === one.predicted ? one.label : `${one.label}, predicted as ${one.predicted}`), h("span", { class: "muted small" }, percent(one.probability)))));
}
