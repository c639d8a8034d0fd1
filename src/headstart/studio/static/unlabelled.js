// Images without a class, the one whose label teaches most first: 1-9 gives a class, Enter takes the guess, J and K walk.
// Each label moves the file into the folder of the class; the order is made again when the head has learned from it.
import { h, fill, button, counted, percent } from "./dom.js";
import { get, post, picture } from "./api.js";
import { store, on } from "./store.js";
import { attempt, say } from "./said.js";
import { undo } from "./main.js";
import { enlarge } from "./images.js";

/** Name of the folder, which no class can have. */
export const UNLABELLED = "unlabelled";
const NEXT = 12; // small pictures of what comes

export class Unlabelled {
  constructor() {
    this.element = h("section", { class: "unlabelled", "aria-label": "Unlabelled images", tabindex: "0", hidden: true });
    /** @type {any[]} */ this.rows = [];
    this.at = 0;
    this.touched = false; // by a key or a button: then the image that is looked at stays in view
    /** @type {string[]} */ this.taken = [];
    this.back = ""; // an image that an undo brings back: it is shown again
    this.said = { total: 0, done: 0, command: "", python: "" };
    this.reading = 0;
    this.key = (/** @type {KeyboardEvent} */ event) => this.pressed(event);
    document.addEventListener("keydown", this.key);
    this.offs = [on("learned", () => this.show()), on("ahead", () => this.show())];
  }

  close() {
    document.removeEventListener("keydown", this.key);
    for (const off of this.offs) off();
  }

  /** @returns {string[]} */
  get names() {
    return (store.state?.classes ?? []).map((one) => one.name);
  }

  /** Read the order again; what was skipped and the image that is looked at stay, so that no key meets another one. */
  async show() {
    if (this.element.hidden) return;
    this.reading += 1;
    const own = this.reading;
    const found = await attempt(() => get("/api/unlabelled"));
    if (!found || own !== this.reading) return;
    const fresh = new Map(found.images.map((/** @type {any} */ one) => [one.id, one]));
    const before = this.rows.slice(0, this.at).map((one) => one.id);
    const current = fresh.has(this.back) ? this.back : this.rows[this.at]?.id;
    const held = this.touched ? [...new Set([...before, current])].filter((id) => fresh.has(id)) : [];
    this.rows = [...held.map((id) => fresh.get(id)), ...found.images.filter((/** @type {any} */ one) => !held.includes(one.id))];
    this.said = found;
    this.back = "";
    this.at = Math.max(0, Math.min(fresh.has(current) ? held.length - 1 : held.length, this.rows.length - 1));
    this.draw();
    window.dispatchEvent(new HashChangeEvent("hashchange")); // the lines at the foot
  }

  draw() {
    const one = this.rows[this.at];
    if (!one) { fill(this.element); return; }
    const names = this.names;
    const order = this.rows.slice(this.at + 1, this.at + 1 + NEXT);
    const guess = one.predicted
      ? h("p", { class: "question" }, `${one.predicted}?`, h("span", { class: "muted" }, ` ${percent(one.probability)}, else ${one.runner_up}`))
      : h("p", { class: "question" }, "Which class?");
    fill(this.element, h("p", { class: "muted" }, this.about(one)),
      h("div", { class: "suspect" }, h("button", { type: "button", class: "frame", "aria-label": `Show ${one.name}`, onclick: () => enlarge(one.id, one.version, one.name) }, h("img", { src: picture(one.id, one.version, "large"), alt: one.name })),
        h("div", {}, h("p", { class: "muted small" }, `${this.at + 1} of ${this.said.total.toLocaleString("en")}: `, h("span", { class: "name" }, one.name)), guess,
          names.length ? h("div", { class: "row decide" }, names.map((name, index) => button(`${index < 9 ? `${index + 1} ` : ""}${name}`, () => this.label(name), { class: name === one.predicted ? "primary" : null }))) : h("p", {}, "Make a class first."),
          h("div", { class: "row" }, button("Previous (K)", () => this.step(-1)), button("Skip (J)", () => this.step(1)), button("Delete (D)", () => this.remove(), { class: "danger" }), button("Undo (U)", () => this.undo())),
          order.length > 0 && [h("h3", {}, "Next"), h("ul", { class: "judged next-up" }, order.map((next, index) => h("li", {}, h("button", { type: "button", class: "frame", "aria-label": `Go to ${next.name}`, onclick: () => this.step(index + 1) }, h("img", { src: picture(next.id, next.version), alt: "", loading: "lazy" })), h("span", { class: "name muted" }, next.predicted ? `${next.predicted} ${percent(next.probability)}` : ""))))])));
  }

  /** @param {any} one */
  about(one) {
    const { done, total } = this.said;
    if (one.margin === undefined) return store.learned?.accuracy ? `Looking at the images: ${done} of ${total} …` : "By name. Once two classes have images, the classifier guesses, and the most useful image comes first.";
    const left = done < total ? ` ${done.toLocaleString("en")} of ${total.toLocaleString("en")} are looked at so far.` : "";
    return `Sorted by how much a label teaches: the classifier is unsure, and many images are like it. Margin ${one.margin.toFixed(2)}, density ${one.density.toFixed(2)}.${left}`;
  }

  /** @param {number} by */
  step(by) {
    this.touched = true;
    this.at = Math.max(0, Math.min(this.rows.length - 1, this.at + by));
    this.draw();
  }

  /** @param {string} label */
  async label(label) {
    const one = this.take();
    if (one && await attempt(() => post("/api/images/move", { ids: [one.id], label }))) say(`${one.name.split("/").pop()} is now ${label}.`, { action: "Undo", onaction: undo });
    else this.show();
  }

  async remove() {
    const one = this.take();
    if (one && await attempt(() => post("/api/images/delete", { ids: [one.id] }))) say(`Deleted ${counted(1, "image")}.`, { action: "Undo", onaction: undo });
    else this.show();
  }

  async undo() {
    this.back = this.taken.pop() ?? "";
    await undo();
    await this.show();
  }

  /** The image that is looked at, which leaves the list at once: the next key is for the next one. */
  take() {
    const [one] = this.rows.splice(this.at, 1);
    if (one) { this.said.total -= 1; this.taken.push(one.id); }
    this.reading += 1; // an order that is on its way still has it
    this.step(0);
    return one;
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = /** @type {Element} */ (event.target);
    if (this.element.hidden || event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    const one = this.rows[this.at];
    const label = this.names[Number(key) - 1];
    if (key === "j") this.step(1);
    else if (key === "k") this.step(-1);
    else if (key === "u") this.undo();
    else if (key === "d") this.remove();
    else if (key === "enter" && one?.predicted && !target.closest("button, a")) this.label(one.predicted);
    else if (/^[1-9]$/.test(key) && label) this.label(label);
    else return;
    event.preventDefault();
  }
}
