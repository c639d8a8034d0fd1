// The training of the page Learn: strategy and backbone with their predicted times, progress, live curves, stop, resume.
import { h, fill, button, counted, duration } from "./dom.js";
import { get, post } from "./api.js";
import { store, on } from "./store.js";
import { attempt, say } from "./said.js";
import { draw } from "./chart.js";

/** @type {Record<string, string>} */
const ABOUT = { probe: "probe: only the head", auto: "auto: fine-tune where it is measurably better", "last-stage": "last-stage: the last stage and the head", "probe-then-full": "probe-then-full: the head first, then all stages", full: "full: all stages at once" };

/** @param {() => void} onchange when another strategy or backbone is chosen */
export function trainingPanel(onchange) {
  const strategy = h("select", { id: "strategy", onchange });
  const backbone = h("select", { id: "backbone", onchange: () => { times = null; showTimes(); onchange(); } });
  const begin = button("Train", start, { class: "primary" });
  const stop = button("Stop", () => attempt(() => post("/api/train/stop")), { hidden: true });
  const predict = button("Predict the time", askTimes);
  const said = h("p", { class: "muted", role: "status" });
  const status = h("div", { class: "status", role: "status" });
  const curves = h("div", { class: "curves" });
  const steps = h("div", {});
  const waiting = h("div", {});
  /** @type {any} */ let times = null;
  /** @type {string[]} */ let strategies = [];
  let asking = false;
  const element = h("section", { class: "card", "aria-label": "Training" }, h("h2", {}, "Train"),
    h("p", { class: "muted" }, "The live result uses every image. Training sets a test part aside, measures on it once, and writes a classifier with its report."),
    h("div", { class: "fields" }, h("label", { for: "strategy" }, "Strategy"), strategy, h("label", { for: "backbone" }, "Backbone"), backbone),
    said, h("p", { class: "row" }, begin, stop, predict), waiting, status, curves, steps);

  async function start() {
    const answer = await attempt(() => post("/api/train", { strategy: strategy.value, backbone: backbone.value }));
    if (answer) say(`Started: ${answer.command}`);
  }

  async function askTimes() {
    asking = predict.disabled = true;
    fill(said, "Timing a few steps on your images …");
    times = (await attempt(() => get(`/api/advice/time?${new URLSearchParams({ backbone: backbone.value })}`))) ?? null;
    asking = predict.disabled = false;
    showTimes();
  }

  /** @param {string} name @returns {string} what a strategy takes with the backbone; empty: not known */
  function timeOf(name) {
    if (!times || !(name in times.strategies)) return "";
    const seconds = times.features + times.strategies[name];
    return name === "auto" ? `at most ${duration(seconds)}` : name === "probe" && !times.waiting ? "seconds" : `about ${duration(seconds)}`;
  }

  function showTimes() {
    const kept = strategy.value;
    fill(strategy, strategies.map((name) => h("option", { value: name }, [ABOUT[name] ?? name, timeOf(name)].filter(Boolean).join(", "))));
    if (strategies.includes(kept)) strategy.value = kept;
    fill(said, times ? (times.waiting ? `${counted(times.waiting, "image")} of ${times.images.toLocaleString("en")} have no features of this backbone yet: about ${duration(times.features)}, once.` : "All features are cached.") : "");
  }

  function showTraining() {
    const training = store.training;
    const running = training?.state === "running";
    begin.disabled = running;
    stop.hidden = !running;
    if (!training) { fill(status); return; }
    if (training.state === "done") fill(status, h("p", {}, `Done in ${duration(training.seconds)}.`));
    else if (training.step) {
      const bar = h("progress", { max: training.total, "aria-label": training.step });
      bar.value = training.done;
      fill(status, h("p", {}, `${training.step}: ${training.done.toLocaleString("en")} of ${training.total.toLocaleString("en")} ${training.unit}${training.left ? `, ${duration(training.left)} left` : ""}`), bar);
    } else if (training.text) fill(status, h("p", { class: training.state === "failed" ? "problem-text" : null }, training.text));
  }

  function showCurves() {
    const epochs = store.epochs?.epochs ?? [];
    if (!epochs.length) { fill(curves); return; }
    const x = epochs.map((/** @type {any} */ one) => one.epoch);
    const losses = epochs.map((/** @type {any} */ one) => one.loss);
    const held = epochs.filter((/** @type {any} */ one) => one.val_loss !== null);
    const all = [...losses, ...held.map((/** @type {any} */ one) => one.val_loss)];
    const place = h("div", { class: "drawn-chart" });
    const last = epochs[epochs.length - 1];
    draw(place, { title: `Loss after each epoch: ${last.loss.toFixed(3)} after epoch ${last.epoch}`, x: "epoch", xs: [Math.min(...x), Math.max(...x, Math.min(...x) + 1)], ys: [0, Math.max(...all) * 1.05 || 1],
      series: [{ x, y: losses, kind: x.length > 1 ? "line" : "dots", colour: "s-blue", label: "training" }, { x: held.map((/** @type {any} */ one) => one.epoch), y: held.map((/** @type {any} */ one) => one.val_loss), kind: held.length > 1 ? "line" : "dots", colour: "s-orange", label: "held out" }] });
    fill(curves, h("h3", {}, `Fine-tuning, ${counted(epochs.length, "epoch")}`), place, h("p", { class: "legend-line" }, "Loss: ", h("i", { class: "s-blue" }), ` training ${last.loss.toFixed(3)} `, held.length > 0 && [h("i", { class: "s-orange" }), ` held out ${held[held.length - 1].val_loss.toFixed(3)}`]));
  }

  function showSteps() {
    const found = store.steps;
    fill(steps, found?.steps.length > 0 && [h("h3", {}, `What ${found.run} suggests next`), h("ul", { class: "next" }, found.steps.map((/** @type {any} */ one) => h("li", {}, one.text, one.command && [" ", h("code", {}, one.command)])))]);
  }

  /** @param {string[]} names of runs that were stopped */
  function showWaiting(names) {
    fill(waiting, names.map((name) => h("p", { class: "row" }, h("span", { class: "name" }, `${name} was stopped; its checkpoint is kept.`), button("Resume", () => attempt(() => post("/api/train/resume", { run: name }))))));
  }

  async function showChoices() {
    const answer = await attempt(() => get("/api/choices"));
    if (!answer) return;
    strategies = answer.strategies;
    fill(backbone, answer.words.map((/** @type {string} */ name) => h("option", { value: name }, name)), answer.backbones.map((/** @type {any} */ one) => h("option", { value: one.name }, one.gmac ? `${one.name} (${one.gmac} GMAC)` : one.name)));
    showTimes();
  }

  showTraining();
  showCurves();
  showSteps();
  showChoices();
  const offs = [on("training", showTraining), on("epochs", showCurves), on("steps", showSteps),
    on("advising", (values) => { if (asking) fill(said, `${values.step}: ${values.done.toLocaleString("en")} of ${values.total.toLocaleString("en")}`); })];
  return { element, showWaiting, choice: () => ({ strategy: strategy.value, backbone: backbone.value }), close: () => { for (const off of offs) off(); } };
}
