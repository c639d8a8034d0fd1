// The training of the page Learn: strategy and backbone with their predicted times, progress, live curves, stop, resume.
import { h, fill, button, counted, duration, percent } from "./dom.js";
import { get, post } from "./api.js";
import { store, on } from "./store.js";
import { attempt, say } from "./said.js";
import { draw, key } from "./chart.js";
import { cards } from "./cards.js";

/** @type {Record<string, string>} */
const ABOUT = { probe: "Only the head is trained", auto: "Fine-tuned where that is measurably better", "last-stage": "The last stage and the head", "probe-then-full": "The head first, then all stages", full: "All stages at once" };
const OTHER = "other"; // the card of all other backbones

/** @param {{gmac: number}} backbone @returns {string} */
const work = (backbone) => `${Number(backbone.gmac.toPrecision(3))} GMAC`;

/** @param {() => void} onchange when another strategy or backbone is chosen */
export function trainingPanel(onchange) {
  const changed = () => { showTimes(); onchange(); };
  const strategy = cards("strategy", "Strategy", changed);
  const backbone = cards("backbone", "Backbone", changed);
  const others = h("select", { "aria-label": "Other backbones", onchange: () => backbone.choose(OTHER) });
  const begin = button("Train", start, { class: "primary" });
  const stop = button("Stop", () => attempt(() => post("/api/train/stop")), { hidden: true });
  const predict = button("Predict the time", askTimes);
  const said = h("p", { class: "muted", role: "status" });
  const status = h("div", { class: "status", role: "status" });
  const curves = h("div", { class: "curves" });
  const steps = h("div", {});
  const waiting = h("div", {});
  /** @type {Record<string, any>} of backbones that were timed */ const times = {};
  /** @type {Record<string, string>} what a word takes here */ const takes = {};
  let asking = false;
  let offline = false; // as the studio was started
  const element = h("section", { class: "card", "aria-label": "Training" }, h("h2", {}, "Train"),
    h("p", { class: "muted" }, "The live result uses every image. Training sets a test part aside, measures on it once, and writes a classifier with its report."),
    strategy.element, backbone.element,
    said, h("p", { class: "row" }, begin, stop, predict), waiting, status, curves, steps);

  const chosen = () => (backbone.value() === OTHER ? others.value : backbone.value());
  /** @param {string} name @returns {string} the network that is meant */
  const network = (name) => takes[name] ?? (name === OTHER ? others.value : name);

  async function start() {
    const answer = await attempt(() => post("/api/train", { strategy: strategy.value(), backbone: chosen() }));
    if (answer) say(`Started: ${answer.command}`);
  }

  async function askTimes() {
    asking = predict.disabled = true;
    const name = network(chosen());
    fill(said, `Timing a few steps of ${name} on your images …`);
    const found = await attempt(() => get(`/api/advice/time?${new URLSearchParams({ backbone: name })}`));
    if (found) times[name] = found;
    asking = predict.disabled = false;
    showTimes();
  }

  /** @param {string} name of a strategy @param {string} start name of a backbone @returns {string} empty: not known */
  function timeOf(name, start) {
    const found = times[network(start)];
    if (!found || !(name in found.strategies)) return "";
    const seconds = found.features + found.strategies[name];
    return name === "auto" ? `at most ${duration(seconds)}` : name === "probe" && !found.waiting ? "seconds" : `about ${duration(seconds)}`;
  }

  function showTimes() {
    strategy.time((name) => timeOf(name, chosen()));
    backbone.time((name) => timeOf(strategy.value(), name));
    if (asking) return;
    const found = times[network(chosen())];
    fill(said, found ? (found.waiting ? `${counted(found.waiting, "image")} of ${found.images.toLocaleString("en")} have no features of this backbone yet: about ${duration(found.features)}, once.` : "All features are cached.") : "");
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
    fill(curves, h("h3", {}, `Fine-tuning, ${counted(epochs.length, "epoch")}`), place, h("p", { class: "legend-line" }, "Loss: ", key("s-blue", `training ${last.loss.toFixed(3)}`), " ", held.length > 0 && key("s-orange", `held out ${held[held.length - 1].val_loss.toFixed(3)}`)));
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
    strategy.show(answer.strategies.map((/** @type {string} */ name) => ({ value: name, title: name, about: ABOUT[name] ?? "" })), answer.chosen.strategy);
    fill(others, answer.backbones.map((/** @type {any} */ one) => h("option", { value: one.name }, one.gmac ? `${one.name} (${work(one)})` : one.name)));
    for (const one of answer.words) takes[one.name] = one.takes;
    const { backbone: given } = answer.chosen;
    const named = given in takes;
    if (!named && !answer.backbones.some((/** @type {any} */ one) => one.name === given)) others.prepend(h("option", { value: given }, given));
    others.value = named ? answer.backbones[0].name : given;
    backbone.show([...answer.words.map(wordCard), { value: OTHER, title: "another", about: "Any network of the catalogue", more: others }], named ? given : OTHER);
    offline = answer.chosen.offline;
    changed(); // the line at the foot names what the studio was started with
  }

  /** @param {any} one @returns {import("./cards.js").Card} */
  function wordCard(one) {
    const numbers = [one.takes !== one.name && one.takes.replace("+", "+\u200b"), one.gmac && work(one), one.accuracy && `${percent(one.accuracy)} on our five sets`].filter(Boolean);
    return { value: one.name, title: one.name, about: numbers.join(", ") };
  }

  showTraining();
  showCurves();
  showSteps();
  showChoices();
  const offs = [on("training", showTraining), on("epochs", showCurves), on("steps", showSteps),
    on("advising", (values) => { if (asking) fill(said, `${values.step}: ${values.done.toLocaleString("en")} of ${values.total.toLocaleString("en")}`); })];
  return { element, showWaiting, choice: () => ({ strategy: strategy.value(), backbone: chosen(), offline }), close: () => { for (const off of offs) off(); } };
}
