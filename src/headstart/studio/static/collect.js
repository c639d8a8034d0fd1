// Collect: classes on the left, the images of one of them on the right; drop, paste, record, move, delete.
import { h, fill, button, ask, choose, counted } from "./dom.js";
import { get, post } from "./api.js";
import { store, on, refresh } from "./store.js";
import { attempt, say } from "./said.js";
import { Grid } from "./grid.js";
import { Recorder } from "./camera.js";
import { upload, droppedFiles, chosenFiles, classOf } from "./uploads.js";
import { findings } from "./findings.js";
import { enlarge } from "./images.js";
import { undo } from "./main.js";
import { classLines } from "./folder_lines.js";
import { Unlabelled, UNLABELLED } from "./unlabelled.js";

let chosen = ""; // stays while other pages are looked at

/** Each change of this page is a change of folders and files. @param {string} one class @param {string} other @returns {import("./commands.js").Lines} */
function auditLines(one, other) {
  const [quoted, folder] = [store.state?.quoted ?? "", JSON.stringify(store.state?.folder ?? "")];
  const changes = store.state?.locked ? [] : classLines(one, other);
  return { command: `headstart audit ${quoted}`, python: `hs.audit(${folder})`, more: [...changes, ["See each class, its sizes and findings", `headstart show ${quoted}`, `hs.show(${folder})`]] };
}

/** @returns {import("./main.js").Page} */
export function collect() {
  /** @type {string[]} */ let selection = [];
  let shown = ""; // the class of the tiles
  const classes = h("ul", { class: "classes", "aria-label": "Classes" });
  const toolbar = h("div", { class: "row toolbar" });
  const progress = h("progress", { hidden: true, "aria-label": "Upload" });
  const empty = h("div", { class: "empty" });
  const recorder = new Recorder(() => chosen);
  const grid = new Grid({ label: "Images", onselect: (ids) => { selection = ids; showToolbar(); }, onopen: ([id, name, version]) => enlarge(id, version, name), onkey: key });
  const files = h("input", { type: "file", multiple: true, accept: "image/*,.zip,.tar,.tgz", hidden: true, onchange: () => take(chosenFiles(files.files), chosen) });
  const folder = h("input", { type: "file", webkitdirectory: true, hidden: true, onchange: () => take(chosenFiles(folder.files), "") });
  const unlabelled = new Unlabelled();
  const found = findings((id) => enlarge(id, "", ""));
  const element = h("div", { class: "collect" },
    h("section", { class: "side", "aria-label": "Classes" }, h("div", { class: "row" }, h("h2", {}, "Classes"), button("New class", makeClass, { class: "primary" })),
      classes, h("div", { class: "row" }, button("Add a folder", () => folder.click()), button("Undo", undo, { id: "undo" })), found.element),
    h("section", { class: "pictures", "aria-label": "Images of the class" }, toolbar, progress, recorder.element, empty, grid.element, unlabelled.element), files, folder);

  const names = () => (store.state?.classes ?? []).map((one) => one.name);

  /** @param {string} name of a class that may be new to this page */
  async function select(name) {
    await refresh();
    chosen = name;
    showClasses();
    showImages();
  }

  async function makeClass() {
    const name = await ask("Name of the class", "", "Make");
    if (!name) return;
    const made = await attempt(() => post("/api/classes", { name }));
    if (made) select(made.name);
  }

  async function rename() {
    const to = await ask(`Another name for ${chosen}`, chosen, "Rename");
    if (!to || to === chosen) return;
    if (names().includes(to)) { await merge(to); return; }
    const made = await attempt(() => post("/api/classes/rename", { name: chosen, to }));
    if (made) select(made.name);
  }

  /** @param {string} [known] */
  async function merge(known) {
    const into = known ?? await choose(`Merge ${chosen} into`, names().filter((one) => one !== chosen));
    if (!into) return;
    const made = await attempt(() => post("/api/classes/merge", { name: chosen, into }));
    if (made) { say(`${chosen} is now part of ${into}.`, { action: "Undo", onaction: undo }); select(into); }
  }

  async function removeClass() {
    const name = chosen;
    if (await attempt(() => post("/api/classes/delete", { name }))) say(`Deleted the class ${name}.`, { action: "Undo", onaction: undo });
  }

  /** @param {string[]} ids */
  async function remove(ids) {
    if (await attempt(() => post("/api/images/delete", { ids }))) say(`Deleted ${counted(ids.length, "image")}.`, { action: "Undo", onaction: undo });
  }

  /** @param {string[]} ids @param {string|null} label */
  async function move(ids, label) {
    if (label && await attempt(() => post("/api/images/move", { ids, label }))) say(`Moved ${counted(ids.length, "image")} to ${label}.`, { action: "Undo", onaction: undo });
  }

  /** @param {KeyboardEvent} event @param {string[]} ids */
  function key(event, ids) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Delete" || event.key === "Backspace") remove(ids);
    else if (/^[1-9]$/.test(event.key) && names()[Number(event.key) - 1]) move(ids, names()[Number(event.key) - 1]);
    else return;
    event.preventDefault();
  }

  /** @param {import("./uploads.js").Dropped[]} dropped @param {string} label of files in no folder; empty: by their folders */
  async function take(dropped, label) {
    const wanted = dropped.map(({ file, folder: path }) => ({ file, label: label || classOf(path) || (/\.(zip|tar|tgz|gz|bz2|xz)$/i.test(file.name) ? "" : chosen) }));
    const missing = wanted.find((one) => !one.label && !/\.(zip|tar|tgz|gz|bz2|xz)$/i.test(one.file.name));
    if (missing) { say("Make a class first, or drop a folder per class.", { problem: true }); return; }
    const fresh = [...new Set(wanted.map((one) => one.label))].filter((name) => name && name !== UNLABELLED && !names().includes(name));
    for (const name of fresh) if (!(await attempt(() => post("/api/classes", { name })))) return;
    progress.hidden = false;
    const added = await upload(wanted, (done, total) => { progress.value = done; progress.max = total; });
    progress.hidden = true;
    files.value = folder.value = "";
    if (!chosen && wanted[0]) chosen = wanted[0].label;
    if (added) say(`Added ${counted(added, "image")}.`, { action: "Undo", onaction: undo });
  }

  function showClasses() {
    const state = store.state;
    if (!state) return;
    if (!isThere(chosen)) chosen = names()[0] ?? (state.unlabelled ? UNLABELLED : "");
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.label : undefined;
    const place = (/** @type {string} */ name, /** @type {string} */ title, /** @type {string|number} */ key, /** @type {number} */ images) => h("li", {}, h("button", {
      type: "button", class: "class", "aria-pressed": String(name === chosen), "data-label": name,
      onclick: () => { chosen = name; showClasses(); showImages(); },
    }, h("kbd", { "aria-hidden": "true" }, key), h("span", { class: "name" }, title), h("span", { class: "count" }, images.toLocaleString("en"))));
    fill(classes, state.classes.map((one, index) => place(one.name, one.name, index < 9 ? index + 1 : "", one.images)),
      isThere(UNLABELLED) && !names().includes(UNLABELLED) && (state.classes.length || state.unlabelled) ? place(UNLABELLED, "Unlabelled", "?", state.unlabelled) : null);
    if (focused !== undefined) [...classes.querySelectorAll("button")].find((one) => one.dataset.label === focused)?.focus();
    const undoButton = /** @type {HTMLButtonElement|null} */ (element.querySelector("#undo"));
    if (undoButton) { undoButton.disabled = !state.undo; undoButton.title = state.undo; }
    showToolbar();
  }

  /** @param {string} name */
  const isThere = (name) => names().includes(name) || (name === UNLABELLED && !store.state?.locked);

  function showToolbar() {
    const isClass = names().includes(chosen);
    const has = selection.length > 0;
    const selected = counted(selection.length, "image");
    if (!chosen) { fill(toolbar); return; }
    fill(toolbar, h("h2", { class: "grow" }, has ? `${selected} selected` : isClass ? chosen : "Unlabelled"),
      has && button("Move to…", async () => move(selection, await choose(`Move ${selected} to`, [...names(), UNLABELLED].filter((one) => one !== chosen)))),
      has && button("Delete", () => remove(selection), { class: "danger" }),
      has && button("Clear", () => { grid.selected.clear(); grid.changed(); }),
      !has && button("Add files", () => files.click(), { class: "primary" }),
      !has && button("Camera", () => recorder.toggle()),
      !has && isClass && button("Rename", rename), !has && isClass && names().length > 1 && button("Merge…", () => merge()), !has && isClass && button("Delete class", removeClass, { class: "danger" }));
  }

  async function showImages() {
    const label = chosen;
    if (label && !names().includes(label)) { showUnlabelled(); return; }
    unlabelled.element.hidden = true;
    if (label !== shown) { grid.show([]); empty.hidden = true; } // no image of the class before can be deleted under another name
    shown = label;
    window.dispatchEvent(new HashChangeEvent("hashchange")); // the lines at the foot name the class
    const answer = label ? await attempt(() => get(`/api/images?${new URLSearchParams({ label })}`)) : { images: [] };
    if (!answer || label !== chosen) return;
    grid.element.hidden = !answer.images.length; // before it is drawn: a hidden grid has no width
    grid.show(answer.images);
    empty.hidden = answer.images.length > 0;
    fill(empty, h("p", { class: "lead" }, label ? `Drop images on this page, paste them, or hold the camera's button: they become ${label}.` : "Make a class for each thing you want to tell apart, or drop a folder that has a folder per class."),
      store.state?.locked && h("p", {}, store.state.locked));
  }

  function showUnlabelled() {
    const waiting = store.state?.unlabelled ?? 0;
    grid.element.hidden = true;
    grid.show([]);
    shown = UNLABELLED;
    unlabelled.element.hidden = !waiting;
    unlabelled.show();
    empty.hidden = waiting > 0;
    fill(empty, h("p", { class: "lead" }, "Drop images here whose class you do not know yet: they are no class, and nothing is learned from them. The page says which of them to label first, and one key labels an image."));
  }

  const over = (/** @type {DragEvent} */ event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    element.classList.add("dropping");
  };
  const drop = async (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    element.classList.remove("dropping");
    const target = /** @type {Element} */ (event.target).closest?.("[data-label]");
    const label = target instanceof HTMLElement ? target.dataset.label ?? "" : "";
    if (event.dataTransfer) await take(await droppedFiles(event.dataTransfer), label);
  };
  const leave = (/** @type {DragEvent} */ event) => { if (!event.relatedTarget) element.classList.remove("dropping"); };
  const paste = (/** @type {ClipboardEvent} */ event) => {
    const list = event.clipboardData?.files;
    if (list?.length) take([...list].map((file) => ({ file, folder: "" })), chosen);
  };
  /** @type {[string, any][]} */
  const doors = [["dragover", over], ["drop", drop], ["dragleave", leave], ["paste", paste]];
  for (const [name, call] of doors) document.addEventListener(name, call);
  const offs = [on("state", () => { showClasses(); showImages(); }), on("audited", () => { showImages(); found.show(); })];
  showClasses();
  showImages();
  found.show();

  return {
    element,
    lines: () => {
      if (!unlabelled.element.hidden && unlabelled.said.command) return unlabelled.said;
      const one = names().includes(chosen) ? chosen : names()[0] ?? "CLASS";
      return auditLines(one, names().find((name) => name !== one) ?? "OTHER");
    },
    close: () => {
      recorder.off();
      unlabelled.close();
      for (const [name, call] of doors) document.removeEventListener(name, call);
      for (const off of offs) off();
    },
  };
}
