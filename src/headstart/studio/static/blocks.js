// A residual network on the user's own picture: every block can be switched off, and the answer is computed again.
import { h, fill, button, percent } from "./dom.js";
import { get, send } from "./api.js";
import { attempt } from "./said.js";

export function residualBlocks() {
  const model = h("select", { id: "blocks-of", onchange: () => { off.clear(); showLines(); ask(); } });
  const image = h("img", { alt: "Your picture" });
  const file = h("input", { type: "file", accept: "image/*", hidden: true, "data-of": "blocks", onchange: () => { if (file.files?.[0]) take(file.files[0]); } });
  const stage = h("div", { class: "stage", hidden: true }, image);
  const answer = h("div", { "aria-live": "polite" });
  const list = h("div", {});
  /** @type {Blob|null} */ let asked = null;
  /** @type {Set<number>} */ const off = new Set();
  /** @type {any[]} */ let runs = [];
  let number = 0;
  const showLines = () => window.dispatchEvent(new HashChangeEvent("hashchange")); // those at the foot name a run
  const element = h("section", { class: "card", "aria-label": "Residual blocks switched off" }, h("h2", {}, "What does a residual block do?"),
    h("p", {}, "A residual block adds its branch to a shortcut: output = x + branch(x). Switched off, only the shortcut is left. Some blocks can go alone without a change of the answer, others cannot: try which."),
    h("div", { class: "columns" }, h("div", {}, h("p", { class: "row" }, button("Choose a picture", () => file.click(), { class: "primary" }), h("label", { for: "blocks-of" }, "Network of"), model), stage, answer), list), file);

  /** @param {Blob} blob */
  function take(blob) {
    asked = blob;
    off.clear();
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
    stage.hidden = false;
    showLines();
    ask();
  }

  async function ask() {
    if (!asked) return;
    const blob = asked;
    number += 1;
    const own = number;
    const found = await attempt(() => send("/api/blocks", blob, { model: model.value || "live", off: [...off].sort((a, b) => a - b).join(",") }));
    if (found && own === number) show(found);
  }

  /** @param {any} found */
  function show(found) {
    const best = (/** @type {number[]} */ values) => values.indexOf(Math.max(...values));
    const first = best(found.probabilities);
    const now = best(found.without);
    const switched = found.off.length ? `Without ${found.off.map((/** @type {number} */ i) => found.blocks[i].name).join(", ")}` : "With all blocks";
    fill(answer, h("p", { class: "headline" }, found.classes[now], h("span", {}, `${switched}: ${percent(found.without[now])}${now === first ? "" : `; with all blocks it is ${found.classes[first]}`}`)),
      h("ul", { class: "bars" }, found.classes.map((/** @type {string} */ name, /** @type {number} */ i) => ({ name, i })).sort((/** @type {any} */ a, /** @type {any} */ b) => found.without[b.i] - found.without[a.i]).slice(0, 6).map((/** @type {any} */ one) => {
        const bar = h("i", { "aria-hidden": "true" });
        bar.style.width = `${100 * found.without[one.i]}%`;
        return h("li", {}, h("span", { class: "name" }, one.name), h("span", { class: "bar" }, bar), h("span", { class: "number", "data-without": found.without[one.i] }, percent(found.without[one.i])));
      })));
    if (!found.blocks.length) { fill(list, h("p", { class: "muted" }, "This network has no residual blocks.")); return; }
    fill(list, h("div", { class: "scroll", tabindex: "0" }, h("table", { class: "blocks" }, h("caption", {}, "Blocks from the first to the last; share: length of the branch over that of the sum, on this picture"),
      h("thead", {}, h("tr", {}, ["On", "Share", "Alone off"].map((text, i) => h("th", { scope: "col", class: i === 1 ? "number" : null }, text)))),
      h("tbody", {}, found.blocks.map((/** @type {any} */ block, /** @type {number} */ i) => {
        const alone = best(block.probabilities);
        return h("tr", {}, h("th", { scope: "row" }, h("label", {}, h("input", { type: "checkbox", checked: !off.has(i), "data-block": i, onchange: () => { if (off.has(i)) off.delete(i); else off.add(i); ask(); } }), " ", h("span", { class: "name" }, block.name), block.projection ? h("span", { class: "muted" }, " projection") : null)),
          h("td", { class: "number" }, block.share.toFixed(2)), h("td", { class: alone === first ? null : "problem-text" }, `${found.classes[alone]} ${percent(block.probabilities[alone])}`));
      })))), h("p", { class: "row" }, button("All on", () => { off.clear(); ask(); }), button("All off", () => { found.blocks.forEach((/** @type {any} */ _, /** @type {number} */ i) => off.add(i)); ask(); })));
  }

  async function showModels() {
    const found = await attempt(() => get("/api/runs"));
    runs = (found?.runs ?? []).filter((/** @type {any} */ one) => !one.error);
    fill(model, h("option", { value: "live" }, "live: all images"), runs.map((/** @type {any} */ one) => h("option", { value: one.name }, `run ${one.name}`)));
    showLines();
  }

  /** @returns {[string, string]} */
  function lines() {
    const run = runs.find((one) => one.name === model.value) ?? runs[0];
    return [`headstart inspect residual ${run?.quoted ?? "RUN"} PICTURES`, `hs.inspect("residual", ${JSON.stringify(run?.folder ?? "RUN")}, "PICTURES")`];
  }

  showModels();
  return { element, used: () => asked !== null, command: () => lines()[0], python: () => lines()[1] };
}
