// Learn: what the live head has learned, measured by leaving groups out; and the real training with its runs.
import { h, fill, percent, withInterval, counted } from "./dom.js";
import { get } from "./api.js";
import { store, on, lacking } from "./store.js";
import { attempt } from "./said.js";
import { trainingPanel } from "./training.js";
import { learningCurve } from "./curve.js";
import { strip } from "./strip.js";
import { quoted, optionWords } from "./commands.js";

/** @returns {import("./main.js").Page} */
export function learn() {
  const live = h("section", { "aria-label": "Live result" });
  const runs = h("section", { "aria-label": "Runs" });
  const training = trainingPanel(() => window.dispatchEvent(new HashChangeEvent("hashchange")));
  const curve = learningCurve();
  /** @type {string[]} names of the runs that were stopped */ let waiting = [];
  const element = h("div", { class: "columns" }, h("div", {}, live, curve.element), h("div", {}, training.element, runs));

  /** @returns {[string, string, string][]} */
  function others() {
    const [folder, run] = [store.state?.folder ?? "", store.state?.runs.at(-1)];
    const place = run ? `${folder}/${run}` : "RUN";
    const stopped = waiting[0] ? `${folder}/runs/${waiting[0]}` : "RUN";
    return [["Would more images help?", `headstart advise more ${quoted(place)}`, `hs.advise_more(${JSON.stringify(place)})`],
      ["Which backbone, and what it costs", `headstart advise backbones ${quoted(folder)}`, `hs.advise(${JSON.stringify(folder)})`],
      ["Resume a training that was stopped", `headstart resume ${quoted(stopped)}`, `hs.resume(${JSON.stringify(stopped)})`]];
  }

  /** Options that differ from those of `train`, for a terminal and for Python. @returns {[string, string]} */
  function options() {
    const { strategy, backbone, offline } = training.choice();
    return optionWords({ strategy: strategy === "probe" ? "" : strategy, backbone: backbone === "auto" ? "" : backbone, offline });
  }

  function showLive() {
    const learned = store.learned;
    if (!learned) { fill(live, h("p", { class: "lead" }, "Looking at the images …")); return; }
    if (!learned.accuracy) { fill(live, h("h2", {}, "Nothing learned yet"), h("p", { class: "lead" }, learned.missing)); return; }
    const grouped = learned.groups < learned.images;
    const recalls = learned.classes.map((/** @type {any} */ one) => one.recall?.value ?? 1);
    const lowest = Math.min(...recalls);
    const worst = lowest < Math.max(...recalls) ? learned.classes[recalls.indexOf(lowest)] : null;
    fill(live, h("p", { class: "headline" }, percent(learned.accuracy.value), h("span", {}, ` of ${counted(learned.images, "image")} classified correctly by a head that had not seen them`)),
      h("p", { class: "muted" }, `95\u00a0% interval ${percent(learned.accuracy.low)} to ${percent(learned.accuracy.high)}, ${learned.held_out}. `,
        grouped ? `The images are ${counted(learned.groups, "independent group")}: bursts and duplicates are left out together.` : "",
        ` Solved in ${learned.seconds.toFixed(2)} s.`),
      h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("caption", {}, "Compared with baselines"), h("tbody", {},
        row("This head", learned.accuracy), row("Nearest images vote", learned.neighbours), row("Always the largest class", { value: learned.majority, low: learned.majority, high: learned.majority }, percent(learned.majority))))),
      h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("caption", {}, worst ? `Each class; the worst is ${worst.name}` : "Each class"), h("thead", {}, h("tr", {}, ["Class", "Images", "Groups", "Recall"].map((text, i) => h("th", { scope: "col", class: i === 1 || i === 2 ? "number" : null, colspan: i === 3 ? 2 : null }, text)))),
        h("tbody", {}, learned.classes.map((/** @type {any} */ one) => h("tr", { class: one === worst ? "worst" : null }, h("th", { scope: "row", class: "name" }, one.name), h("td", { class: "number" }, one.images), h("td", { class: "number" }, one.groups), h("td", { class: "share" }, withInterval(one.recall)), h("td", { class: "drawn" }, strip(one.recall))))))),
      lacking() && h("p", {}, lacking()),
      learned.classes.some((/** @type {any} */ one) => one.groups < 2) && h("p", {}, "A class with a single group cannot be measured: while its group is left out, nothing of the class is known. Add images from another place, time or light."),
      learned.unreadable > 0 && h("p", { class: "muted" }, `${counted(learned.unreadable, "file")} cannot be read and are left out.`));
  }

  /** @param {string} name @param {any} interval @param {string} [text] */
  function row(name, interval, text) {
    return h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "share" }, text ?? withInterval(interval)), h("td", { class: "drawn" }, strip(interval)));
  }

  async function showRuns() {
    const answer = await attempt(() => get("/api/runs"));
    if (!answer) return;
    waiting = answer.unfinished;
    training.showWaiting(waiting);
    window.dispatchEvent(new HashChangeEvent("hashchange")); // the lines at the foot name a run
    fill(runs, h("h2", {}, "Runs"), answer.runs.length === 0 && h("p", { class: "muted" }, "None yet."), h("ul", { class: "runs" }, answer.runs.map((/** @type {any} */ one) => h("li", {}, h("strong", { class: "name" }, one.name),
      one.error ? h("p", {}, one.error) : h("p", {}, `${withInterval(one.accuracy)} on ${counted(one.accuracy.n, "test image")}, ${one.backbone}, ${one.strategy}`),
      h("p", { class: "row" }, (one.pages ?? []).map((/** @type {string} */ page) => h("a", { href: `/api/runs/${encodeURIComponent(one.name)}/${page}`, target: "_blank", rel: "noopener" }, page === "report" ? "Report" : "Inside the network")))))));
  }

  showLive();
  showRuns();
  const offs = [on("learned", showLive), on("training", (values) => { if (values.state !== "running" || values.text === "starting") showRuns(); })];
  return {
    element,
    lines: () => {
      const [flags, named] = options();
      return {
        command: `headstart train ${store.state?.quoted ?? ""} --out ${store.state?.quoted_out ?? ""}${flags}`,
        python: `hs.train(${JSON.stringify(store.state?.folder ?? "")}, out=${JSON.stringify(store.state?.out ?? "")}${named})`,
        more: others(),
      };
    },
    close: () => { training.close(); curve.close(); for (const off of offs) off(); },
  };
}
