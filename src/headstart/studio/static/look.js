// Look: where the live head is wrong, which labels may be, and where each image lies among the others.
import { h, fill, button, counted } from "./dom.js";
import { get } from "./api.js";
import { store, on, lacking } from "./store.js";
import { attempt } from "./said.js";
import { judged } from "./images.js";
import { Suspects } from "./suspects.js";
import { embeddingMap } from "./map.js";
import { quoted, optionWords } from "./commands.js";
import { moveLine } from "./folder_lines.js";

/** @param {string} folder @param {string} run @returns {[string, string, string][]} */
function others(folder, run) {
  const [one, other] = store.state?.classes ?? [];
  /** @type {[string, string, string][]} */ const changes = one && other && !store.state?.locked ? [moveLine(one.name, other.name)] : [];
  const { backbone = "auto", offline = false } = store.state ?? {};
  const [flags, named] = optionWords({ backbone: backbone === "auto" ? "" : backbone, offline });
  return [...changes, ["Confusion matrix and most confident mistakes", `headstart evaluate ${quoted(run)} ${quoted(folder)}`, `hs.evaluate(${JSON.stringify(run)}, ${JSON.stringify(folder)})`],
    ["The features behind the map", `headstart embed ${quoted(folder)}${flags}`, `hs.embed(${JSON.stringify(folder)}${named})`]];
}

/** @returns {import("./main.js").Page} */
export function look() {
  const cell = h("div", { "aria-live": "polite" });
  /** @type {[string, string]|null} label and prediction of the cell that is open */ let opened = null;
  const matrix = h("section", { "aria-label": "Confusion matrix" });
  const wrong = h("section", { "aria-label": "Most confident mistakes" });
  const suspects = new Suspects();
  const map = embeddingMap();
  const missing = h("p", { class: "lead" });
  const all = h("div", { class: "look" }, matrix, suspects.element, wrong, map.element);
  const element = h("div", {}, missing, all);

  async function show() {
    const learned = store.learned;
    const nothing = !learned?.accuracy;
    missing.hidden = !nothing;
    all.hidden = nothing;
    fill(missing, learned?.missing || "Looking at the images …");
    if (nothing) return;
    const found = await attempt(() => get("/api/look/confusion"));
    if (found) {
      showMatrix(found.classes, found.counts);
      showMistakes(found.mistakes);
      if (opened) await open(...opened); // its images are others by now
    }
    suspects.show();
    map.show();
  }

  /** @param {string[]} classes @param {number[][]} counts */
  function showMatrix(classes, counts) {
    const most = Math.max(1, ...counts.flat());
    fill(matrix, h("h2", {}, "What is predicted as what"), h("p", { class: "muted" }, "Each image is judged by a head that has not seen its group. A number opens its images.", lacking() && ` ${lacking()}`),
      h("div", { class: "scroll", tabindex: "0" }, h("table", { class: "confusion" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Label"), classes.map((name) => h("th", { scope: "col", class: "name" }, name)))),
        h("tbody", {}, classes.map((label, row) => h("tr", {}, h("th", { scope: "row", class: "name" }, label), classes.map((predicted, column) => {
          const count = counts[row][column];
          const one = button(count.toLocaleString("en"), () => open(label, predicted), { disabled: count === 0, "aria-label": `${counted(count, "image")} of ${label} predicted as ${predicted}` });
          one.style.setProperty("--share", `${Math.round(70 * Math.sqrt(count / most))}%`);
          return h("td", { class: row === column ? "right" : count ? "wrong" : "" }, one);
        })))))), cell);
  }

  /** @param {string} label @param {string} predicted */
  async function open(label, predicted) {
    const known = (store.learned?.classes ?? []).map((/** @type {any} */ one) => one.name);
    const there = known.includes(label) && known.includes(predicted); // a class may be gone or have another name
    const found = there ? await attempt(() => get(`/api/look/cell?${new URLSearchParams({ label, predicted })}`)) : null;
    opened = found?.images.length ? [label, predicted] : null;
    if (!opened) fill(cell);
    else fill(cell, h("h3", {}, label === predicted ? `${label}, classified correctly` : `${label}, predicted as ${predicted}`), judged(found.images));
  }

  /** @param {import("./images.js").Judged[]} images */
  function showMistakes(images) {
    fill(wrong, h("h2", {}, "Most confident mistakes"), images.length ? judged(images.slice(0, 24)) : h("p", { class: "muted" }, "None: every image was classified correctly while its group was left out."));
  }

  show();
  const offs = [on("learned", show)];
  return {
    element,
    lines: () => {
      const run = store.state?.runs.at(-1);
      const place = run ? `${store.state?.folder}/${run}` : "RUN";
      return { command: `headstart review ${quoted(place)}`, python: `hs.review(${JSON.stringify(place)})`, more: others(store.state?.folder ?? "", place) };
    },
    close: () => { suspects.close(); map.close(); for (const off of offs) off(); },
  };
}
