// Deliver: the files of a run, its ONNX form with the parity report, its card, its server, and the lines that use it.
import { h, fill, button, percent, withInterval } from "./dom.js";
import { get, post } from "./api.js";
import { store, on } from "./store.js";
import { attempt, say } from "./said.js";
import { quoted, showLines } from "./commands.js";
import { StaticPage } from "./static_page.js";

/** @type {Record<string, string>} */
const TITLES = { classifier: "Classifier, with its preprocessing and class names", onnx: "ONNX file, preprocessing inside", runtime: "runtime_onnx.py, which runs it without torch", parity: "Parity report as JSON", "onnx-int8": "ONNX file in int8", "classifier-int8": "Classifier in int8, whose answers that file gives", "parity-int8": "Parity report in int8 as JSON, with the accuracy of both", report: "Report, one file without scripts", card: "Model card (Markdown)", predictions: "Predictions of every image (csv)", record: "Record of the run (JSON)" };

/** @returns {import("./main.js").Page} */
export function deliver() {
  const choice = h("select", { id: "run", onchange: () => showRun() });
  const body = h("div", { class: "columns" });
  const none = h("p", { class: "lead" }, "Nothing to deliver yet: train a classifier on the page Learn.");
  const status = h("p", { role: "status", class: "muted" });
  const serving = h("div", { class: "serving", role: "status" });
  const make = button("Export as ONNX", exportOnnx);
  const page = new StaticPage(() => choice.value, () => lines());
  const card = button("Write the model card", writeCard);
  const element = h("div", {}, none, h("p", { class: "row", id: "choice" }, h("label", { for: "run" }, "Run"), choice), body);
  /** @type {any[]} */ let runs = [];

  const run = () => runs.find((one) => one.name === choice.value);
  const address = () => `/api/deliver/${encodeURIComponent(choice.value)}`;

  async function showRuns() {
    const found = await attempt(() => get("/api/runs"));
    runs = (found?.runs ?? []).filter((/** @type {any} */ one) => !one.error);
    none.hidden = runs.length > 0;
    /** @type {HTMLElement} */ (element.querySelector("#choice")).hidden = !runs.length;
    body.hidden = !runs.length;
    const kept = choice.value;
    fill(choice, runs.map((one) => h("option", { value: one.name }, one.name)));
    if (runs.some((one) => one.name === kept)) choice.value = kept;
    if (runs.length) await showRun();
  }

  async function showRun() {
    const one = run();
    if (!one) return;
    page.said = []; // those of another run
    const there = await attempt(() => get(address()));
    if (!there) return;
    fill(body, files(one, there), use(one, there));
    showServer();
    page.show();
    lines();
  }

  /** @param {any} one @param {any} there */
  function files(one, there) {
    const size = (/** @type {number} */ bytes) => ` ${(bytes / 1e6).toFixed(bytes < 1e5 ? 3 : 1)} MB`;
    const link = (/** @type {string} */ word) => h("li", {}, h("a", { href: `${address()}/file/${word}`, download: true }, TITLES[word]), h("span", { class: "muted small" }, size(there.files[word])));
    const open = (/** @type {string} */ path, /** @type {string} */ text) => h("a", { href: path, target: "_blank", rel: "noopener" }, text);
    return h("section", { "aria-label": "Files" }, h("h2", {}, "Files"), h("p", {}, `${withInterval(one.accuracy)} on ${one.accuracy.n} test images, ${one.backbone}.`),
      h("ul", { class: "files" }, Object.keys(TITLES).filter((word) => word in there.files).map(link)),
      h("p", { class: "row" }, (one.pages ?? []).map((/** @type {string} */ page) => open(`/api/runs/${encodeURIComponent(one.name)}/${page}`, page === "report" ? "Report" : "Inside the network")), there.reports.map((/** @type {string} */ word) => open(`${address()}/report/${word}`, word === "parity" ? "Parity report" : "Parity report in int8"))),
      h("p", { class: "row" }, make, card), status);
  }

  /** @param {any} one @param {any} there */
  function use(one, there) {
    return h("section", { "aria-label": "Use it" }, h("h2", {}, "Use it"), h("h3", {}, "In Python"), code(`import headstart as hs\n\nclassifier = hs.Classifier.load(${JSON.stringify(one.folder)})\nprint(classifier.predict("picture.jpg"))`),
      page.element, h("h3", {}, "Over HTTP"), serving, there.files.onnx !== undefined && [h("h3", {}, "Without torch"), code(`headstart predict ${quoted(`${one.folder}/export/classifier.onnx`)} PICTURES`)]);
  }

  function showServer() {
    const now = store.serving ?? { run: "", address: "", ask: "" };
    const start = button(now.run ? `Serve ${choice.value} instead` : "Start the server", (event) => serve(event, "start", { run: choice.value }), { class: now.run ? null : "primary" });
    fill(serving, now.run
      ? [h("p", {}, `${now.run} answers at `, h("code", {}, `${now.address}/v1/predict`), ", on this machine alone, until you stop it or the studio ends."), code(now.ask),
        h("p", { class: "row" }, button("Stop the server", (event) => serve(event, "stop"), { class: "danger" }), now.run !== choice.value && start)]
      : [h("p", { class: "row" }, start), code(`headstart serve ${run()?.quoted ?? "RUN"}`)]);
  }

  /** @param {Event} event @param {"start"|"stop"} what @param {object} [values] */
  async function serve(event, what, values = {}) {
    const pressed = /** @type {HTMLButtonElement} */ (event.currentTarget);
    pressed.disabled = true;
    if (what === "start") pressed.textContent = "Starting …";
    const found = await attempt(() => post(`/api/server/${what}`, values));
    if (found) store.serving = found;
    showServer();
  }

  /** @param {string} text */
  function code(text) {
    return h("pre", { class: "card", tabindex: "0" }, h("code", {}, text));
  }

  async function exportOnnx() {
    make.disabled = true;
    fill(status, "Exporting: half a minute …");
    const found = await attempt(() => post(`${address()}/onnx`));
    make.disabled = false;
    fill(status, found ? `The file gives the classifier's answers: ${percent(found.agreement)} of ${found.images} images get the same class, probabilities differ by ${found.largest.toPrecision(2)} at most (allowed ${found.tolerance}).` : "");
    if (found) await showRun();
  }

  async function writeCard() {
    if (await attempt(() => post(`${address()}/card`))) { say("The model card is in the folder of the run."); await showRun(); }
  }

  /** @returns {import("./commands.js").Lines} */
  const what = () => {
    const [place, folder] = [run()?.quoted ?? "RUN", JSON.stringify(run()?.folder ?? "RUN")];
    return { command: `headstart export ${place}`, python: `hs.export(${folder})`, more: [["ONNX in int8", `headstart export ${place} --to onnx-int8`, `hs.export(${folder}, to="onnx-int8")`], ["Model card", `headstart card ${place}`, `hs.card(${folder})`], ["Static page", page.said[0] ?? `headstart export ${place} --to page`, page.said[1] ?? `hs.export(${folder}, to="page")`], ["Server", `headstart serve ${place}`, `hs.serve(${folder})`]] };
  };
  const lines = () => { const place = document.getElementById("footer"); if (place && element.isConnected) showLines(place, what()); };
  showRuns();
  const offs = [on("training", (values) => { if (values.state === "done") showRuns(); }), on("serving", showServer), on("exporting", (values) => { if (values.step && make.disabled) fill(status, `${values.step}: ${values.done} of ${values.total}`); }), page.close];
  return { element, lines: what, close: () => { for (const off of offs) off(); } };
}
