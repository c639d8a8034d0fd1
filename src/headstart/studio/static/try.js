// Try: a picture from a file, the clipboard or the camera, and what the classifier says about it.
import { h, fill, button, percent } from "./dom.js";
import { drawn, get, send, picture } from "./api.js";
import { store, on, lacking } from "./store.js";
import { attempt, say } from "./said.js";
import { openCamera, frameOf } from "./camera.js";
import { droppedFiles, newBatch } from "./uploads.js";
import { undo } from "./main.js";
import { copyLine } from "./folder_lines.js";

const EVERY = 350; // milliseconds between two questions while the camera is on

/** @returns {import("./main.js").Page} */
export function tryPage() {
  const model = h("select", { id: "model", onchange: () => again() });
  const image = h("img", { alt: "The picture that is asked about", hidden: true });
  const video = h("video", { playsinline: true, hidden: true, "aria-label": "Camera" });
  video.muted = true;
  const answer = h("section", { class: "answer", "aria-label": "Answer", "aria-live": "polite" }, h("p", { class: "lead" }, "Drop a picture here, paste one, choose a file, or use the camera."));
  const file = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => { if (file.files?.[0]) ask(file.files[0]); } });
  const cameraButton = button("Camera", toggle);
  const teach = h("div", { class: "row", role: "group", "aria-label": "Add the picture to a class" });
  const heat = h("img", { class: "heat", alt: "The picture, and where the evidence for the answer lies", hidden: true });
  const why = button("Why? Show the heat map", explain, { hidden: true });
  const element = h("div", { class: "columns try" },
    h("section", { "aria-label": "Picture" }, h("div", { class: "row" }, button("Choose a file", () => file.click(), { class: "primary" }), cameraButton, h("label", { for: "model" }, "Classifier"), model), h("div", { class: "stage" }, image, video), file),
    h("div", {}, answer, h("p", { class: "row" }, why), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Heat map" }, heat), h("h2", {}, "It is wrong, or new? Add the picture to a class:"), teach));
  /** @type {Blob|null} */ let asked = null;
  /** @type {(() => void)|null} */ let close = null;
  /** @type {any[]} */ let runs = [];
  let number = 0;

  /** @param {Blob} blob @param {boolean} [show] whether the picture replaces the one that is shown */
  async function ask(blob, show = true) {
    asked = blob;
    heat.hidden = true;
    number += 1;
    const own = number;
    if (show) {
      off();
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(blob);
      image.hidden = false;
    }
    const found = await attempt(() => send("/api/answer", blob, { model: model.value || "live" }));
    if (own !== number) return;
    if (found) showAnswer(found);
    else showNothing(); // the answer to another picture must not stay beside this one
  }

  function showNothing() {
    why.hidden = true;
    fill(answer, h("p", { class: "lead" }, "No answer to this picture."));
  }

  /** The heat map of the picture that was asked about last, also while the camera goes on. */
  async function explain() {
    if (!asked) return;
    const blob = asked;
    why.disabled = true;
    const made = await attempt(() => drawn("/api/explain", { model: model.value || "live" }, blob));
    why.disabled = false;
    if (!made) return;
    URL.revokeObjectURL(heat.src);
    heat.src = made;
    heat.hidden = false;
  }

  function again() {
    if (asked && !close) ask(asked);
  }

  /** @param {any} found */
  function showAnswer(found) {
    if (!found.label && !found.rejected) { fill(answer, h("p", {}, found.error ?? "No answer.")); return; }
    why.hidden = false;
    const several = found.prediction_set?.length > 1;
    const said = found.familiar === false ? "None of these" : several ? found.prediction_set.slice(0, 3).join(" or ") : found.label;
    const reason = found.familiar === false ? `It is unlike the training images; the nearest class would be ${found.label}.` : several ? "These classes cannot be ruled out at the stated error rate." : found.atypical ? "Atypical: no class is close." : found.no_threshold && `${found.no_threshold}.`;
    fill(answer, h("p", { class: "headline" }, said, h("span", {}, found.familiar === false || several ? "" : ` ${percent(found.probability)}`)), reason && h("p", {}, reason), found.model === "live" && lacking() && h("p", {}, lacking()),
      found.damaged && h("p", { class: "muted" }, `The file is damaged: ${found.damaged}`),
      h("ul", { class: "bars" }, found.probabilities.slice(0, 12).map((/** @type {[string, number]} */ [name, value]) => {
        const bar = h("i", { "aria-hidden": "true" });
        bar.style.width = `${100 * value}%`;
        return h("li", {}, h("span", { class: "name" }, name), h("span", { class: "bar" }, bar), h("span", { class: "number", "data-probability": value }, percent(value)));
      })),
      found.nearest.length > 0 && [h("h2", { class: "sub" }, "Most similar training images"), h("ul", { class: "nearest" }, found.nearest.map((/** @type {any} */ one) => h("li", {}, h("img", { src: picture(one.id, one.version), alt: "" }), h("span", { class: "name" }, one.label ?? ""), h("span", { class: "muted" }, one.cosine.toFixed(2)))))]);
  }

  async function toggle() {
    if (close) { off(); return; }
    await attempt(async () => {
      close = await openCamera(video);
      video.hidden = false;
      image.hidden = true;
      cameraButton.textContent = "Stop the camera";
      const own = close;
      while (close === own) {
        await ask(await frameOf(video), false);
        await new Promise((resolve) => { setTimeout(resolve, EVERY); });
      }
    });
  }

  function off() {
    close?.();
    close = null;
    video.hidden = true;
    cameraButton.textContent = "Camera";
  }

  /** @param {string} label */
  async function add(label) {
    if (!asked) { say("Ask about a picture first.", { problem: true }); return; }
    const blob = asked;
    const name = blob instanceof File ? blob.name : "camera";
    if (await attempt(() => send("/api/images", blob, { label, name, batch: newBatch() }))) say(`Added to ${label}.`, { action: "Undo", onaction: undo });
  }

  function showClasses() {
    fill(teach, (store.state?.classes ?? []).map((one, index) => button(index < 9 ? `${index + 1} ${one.name}` : one.name, () => add(one.name))));
  }

  async function showModels() {
    const found = await attempt(() => get("/api/runs"));
    runs = (found?.runs ?? []).filter((/** @type {any} */ one) => !one.error);
    const kept = model.value || "live";
    fill(model, h("option", { value: "live" }, "live: all images"), runs.map((one) => h("option", { value: one.name }, `run ${one.name}`)));
    model.value = kept;
    window.dispatchEvent(new HashChangeEvent("hashchange")); // the lines at the foot name a run
  }

  const drop = async (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    const dropped = event.dataTransfer ? await droppedFiles(event.dataTransfer) : [];
    if (dropped[0]) ask(dropped[0].file);
  };
  const paste = (/** @type {ClipboardEvent} */ event) => { const one = event.clipboardData?.files[0]; if (one) ask(one); };
  const key = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return; // Ctrl+1 is another tab
    const one = store.state?.classes[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && one) add(one.name);
  };
  /** @type {[string, any][]} */
  const doors = [["dragover", (/** @type {Event} */ event) => event.preventDefault()], ["drop", drop], ["paste", paste], ["keydown", key]];
  for (const [name, call] of doors) document.addEventListener(name, call);
  const offs = [on("state", showClasses), on("learned", () => { if (!close) again(); }), on("training", (values) => { if (values.state === "done") showModels(); })];
  showClasses();
  showModels();
  return {
    element,
    lines: () => {
      const run = runs.find((one) => one.name === model.value) ?? runs[0];
      const place = run ? run.quoted : "RUN";
      const folder = JSON.stringify(run?.folder ?? "RUN");
      const first = store.state?.locked ? undefined : store.state?.classes[0];
      return { command: `headstart predict ${place} PICTURE`, python: `hs.predict(${folder}, "PICTURE")`, more: [["Why? The heat map and the most similar images", `headstart explain ${place} PICTURE`, `hs.explain(${folder}, "PICTURE")`], ...(first ? [copyLine(first.name)] : [])] };
    },
    close: () => { off(); number += 1; for (const [name, call] of doors) document.removeEventListener(name, call); for (const stop of offs) stop(); },
  };
}
