// Likely label errors, one after another: J and K walk, 1-9 give a class, Enter keeps the label, D deletes, U undoes.
// Those of the live result move the file; those of a run are noted in its review.jsonl, and no file is touched.
import { h, fill, button, counted } from "./dom.js";
import { get, post, picture } from "./api.js";
import { store } from "./store.js";
import { attempt, say } from "./said.js";
import { undo } from "./main.js";
import { enlarge } from "./images.js";

let chosen = ""; // name of the run whose suspects are decided; stays while other pages are looked at
/** @type {string[]} */ const decided = []; // what an undo brings back is shown again

export class Suspects {
  constructor() {
    /** @type {any[]} */ this.rows = [];
    this.source = h("select", { id: "suspects-of", onchange: () => { chosen = this.source.value; this.rows = []; this.at = 0; this.show(); } });
    this.body = h("div", {});
    this.note = h("p", { role: "status", class: "muted" });
    this.element = h("section", { class: "suspects", "aria-label": "Likely label errors", tabindex: "0" }, h("h2", {}, "Likely label errors"),
      h("p", { class: "row" }, h("label", { for: "suspects-of" }, "Found by"), this.source), this.note, this.body);
    /** @type {string[]} */ this.names = [];
    this.at = 0;
    this.back = "";
    this.reading = 0;
    this.key = (/** @type {KeyboardEvent} */ event) => this.pressed(event);
    document.addEventListener("keydown", this.key);
  }

  close() {
    document.removeEventListener("keydown", this.key);
  }

  /** @returns {string} name of a run; empty: the live result */
  get run() {
    return this.source.value;
  }

  /** @returns {string} */
  get address() {
    return this.run ? `/api/review/${encodeURIComponent(this.run)}` : "/api/look/suspects";
  }

  async show() {
    const runs = (store.state?.runs ?? []).map((path) => path.split("/").pop() ?? "").reverse();
    fill(this.source, h("option", { value: "" }, "the live head: a decision moves the file"), runs.map((name) => h("option", { value: name }, `run ${name}: a decision is noted in review.jsonl`)));
    this.source.value = runs.includes(chosen) ? chosen : "";
    this.reading += 1;
    const own = this.reading;
    const found = await attempt(() => get(this.address));
    if (own === this.reading) this.take(found); // else something was decided meanwhile
  }

  /** @param {any} found */
  take(found) {
    if (!found) return;
    const current = found.suspects.some((/** @type {any} */ one) => one.id === this.back) ? this.back : this.rows[this.at]?.id; // no key meets another image
    this.back = "";
    this.rows = found.suspects;
    this.names = found.classes;
    const there = this.rows.findIndex((one) => one.id === current);
    this.at = there >= 0 ? there : Math.max(0, Math.min(this.at, this.rows.length - 1));
    if (this.run) fill(this.note, `About ${Math.round(found.expected)} of the training labels are expected to be wrong. `, found.decisions ? `${counted(found.decisions, "decision")}: ${found.what_if} ` : "", found.decisions ? h("code", {}, found.apply) : "");
    else fill(this.note, "Images that another class wins while their group is left out, the clearest first.");
    this.draw();
  }

  draw() {
    const one = this.rows[this.at];
    if (!one) { fill(this.body, h("p", {}, "None is left."), h("div", { class: "row" }, button("Undo (U)", () => this.undo()))); return; }
    const like = (/** @type {string} */ name, /** @type {any[]} */ images) => h("div", {}, h("h3", {}, `Like it in ${name}`), h("div", { class: "thumbs" }, images.map((image) => h("button", { type: "button", class: "thumb big", "aria-label": `Show an image of ${name}`, onclick: () => enlarge(image.id, image.version, name) }, h("img", { src: picture(image.id, image.version), alt: "" })))));
    fill(this.body, h("div", { class: "suspect" }, h("button", { type: "button", class: "frame", "aria-label": `Show ${one.name}`, onclick: () => enlarge(one.id, one.version, one.name) }, h("img", { src: picture(one.id, one.version, "large"), alt: one.name })),
      h("div", {}, h("p", { class: "muted small" }, `${this.at + 1} of ${this.rows.length}: `, h("span", { class: "name" }, one.name), one.split ? `, ${one.split}` : ""), h("p", { class: "question" }, one.label, h("span", { class: "muted" }, " or "), `${one.suggested}?`),
        like(one.label, one.like_label), like(one.suggested, one.like_suggested),
        h("div", { class: "row decide" }, button(`Keep ${one.label} (Enter)`, () => this.decide("keep"), { class: "primary" }), this.names.map((name, index) => name !== one.label && button(`${index < 9 ? `${index + 1} ` : ""}${name}`, () => this.decide("relabel", name))), button(this.run ? "Drop (D)" : "Delete (D)", () => this.decide("drop"), { class: "danger" })),
        h("div", { class: "row" }, button("Previous (K)", () => this.step(-1)), button("Next (J)", () => this.step(1)), button("Undo (U)", () => this.undo())))));
  }

  /** @param {number} by */
  step(by) {
    this.at = Math.max(0, Math.min(this.rows.length - 1, this.at + by));
    this.draw();
  }

  /** @param {"keep"|"relabel"|"drop"} action @param {string} [label] */
  async decide(action, label = "") {
    const one = this.rows[this.at];
    if (!one || label === one.label) return;
    decided.push(one.id);
    this.rows.splice(this.at, 1); // at once: the next key is for the next image
    this.step(0);
    this.reading += 1; // an order that is on its way still has it
    if (this.run) {
      const own = this.reading;
      const found = await attempt(() => post(`${this.address}/decide`, { image: one.name, action, label }));
      if (!found) await this.show();
      else if (own === this.reading) this.take(found); // else the answer to the next decision has this one, too
      return;
    }
    const ids = [one.id];
    const calls = { keep: () => post("/api/look/keep", { ids }), relabel: () => post("/api/images/move", { ids, label }), drop: () => post("/api/images/delete", { ids }) };
    const said = { keep: `${one.name} stays ${one.label}.`, relabel: `${one.name} is now ${label}.`, drop: `Deleted ${one.name}.` };
    if (await attempt(calls[action])) say(said[action], { action: "Undo", onaction: undo });
    else await this.show();
  }

  async undo() {
    const back = decided.pop() ?? "";
    const found = this.run ? await attempt(() => post(`${this.address}/undo`)) : await undo();
    this.back = back; // not before: another order may have come meanwhile
    if (this.run) this.take(found);
    else await this.show();
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    const label = this.names[Number(key) - 1];
    if (key === "j") this.step(1);
    else if (key === "k") this.step(-1);
    else if (key === "u") this.undo();
    else if (key === "d") this.decide("drop");
    else if (key === "enter" && target === this.element) this.decide("keep");
    else if (/^[1-9]$/.test(key) && label) this.decide("relabel", label);
    else return;
    event.preventDefault();
  }
}
