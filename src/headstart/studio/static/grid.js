// A grid of thumbnails of which only the visible rows exist: twenty thousand scroll like twenty. Keys: arrows move,
// space selects, Shift extends, Ctrl+A selects all, Enter opens; others are handed on.
import { h } from "./dom.js";
import { picture } from "./api.js";

/** @typedef {[id: string, name: string, version: string, burst: string|null, flags: string[]]} Row */

const AHEAD = 2; // rows beyond the visible ones

export class Grid {
  /**
   * @param {{label: string, onselect?: (ids: string[]) => void, onopen?: (row: Row) => void, onkey?: (event: KeyboardEvent, ids: string[]) => void}} options
   */
  constructor(options) {
    this.options = options;
    /** @type {Row[]} */ this.rows = [];
    /** @type {Set<string>} */ this.selected = new Set();
    this.at = 0;
    this.anchor = 0;
    this.columns = 1;
    this.size = 128;
    /** @type {Map<number, HTMLElement>} */ this.tiles = new Map();
    this.inner = h("div", { class: "grid-inner", role: "presentation" });
    this.element = h("div", {
      class: "grid", role: "listbox", tabindex: "0", "aria-multiselectable": "true", "aria-label": options.label,
      onscroll: () => this.draw(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    }, this.inner);
    this.inner.addEventListener("click", (/** @type {MouseEvent} */ event) => this.click(event));
    this.inner.addEventListener("dblclick", (/** @type {MouseEvent} */ event) => this.open(this.indexOf(event)));
    new ResizeObserver(() => this.layout()).observe(this.element);
  }

  /** @param {Row[]} rows */
  show(rows) {
    this.rows = rows;
    const there = new Set(rows.map((row) => row[0]));
    for (const id of this.selected) if (!there.has(id)) this.selected.delete(id);
    this.at = Math.max(0, Math.min(this.at, rows.length - 1));
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.layout();
    this.changed();
  }

  layout() {
    const width = this.element.clientWidth;
    this.columns = Math.max(2, Math.floor(width / 128));
    this.size = Math.floor(width / this.columns);
    this.inner.style.height = `${Math.ceil(this.rows.length / this.columns) * this.size}px`;
    for (const [index, tile] of this.tiles) this.place(index, tile);
    this.draw();
  }

  draw() {
    const top = Math.floor(this.element.scrollTop / this.size) - AHEAD;
    const bottom = Math.ceil((this.element.scrollTop + this.element.clientHeight) / this.size) + AHEAD;
    const first = Math.max(0, top * this.columns);
    const last = Math.min(this.rows.length, bottom * this.columns);
    for (const [index, tile] of this.tiles) {
      if (index < first || index >= last) { tile.remove(); this.tiles.delete(index); }
    }
    for (let index = first; index < last; index += 1) if (!this.tiles.has(index)) this.make(index);
    this.mark();
  }

  /** @param {number} index */
  make(index) {
    const [id, name, version, burst, flags] = this.rows[index];
    const said = [name, ...flags.map((flag) => flag.replaceAll("-", " "))].join(", ");
    const tile = h("div", {
      class: "tile", role: "option", id: `tile-${id}`, "aria-setsize": this.rows.length, "aria-posinset": index + 1,
      "aria-label": said, title: said,
    },
    h("img", { src: picture(id, version), alt: "", decoding: "async", draggable: "false", onerror: unreadable }),
    flags.length > 0 && h("span", { class: "flag", "aria-hidden": "true" }, "!"),
    burst && h("span", { class: "burst", "aria-hidden": "true", title: `Burst ${burst}` }, "≡"));
    tile.dataset.index = String(index);
    this.place(index, tile);
    this.tiles.set(index, tile);
    this.inner.append(tile);
  }

  /** @param {number} index @param {HTMLElement} tile */
  place(index, tile) {
    const x = (index % this.columns) * this.size;
    const y = Math.floor(index / this.columns) * this.size;
    tile.style.transform = `translate(${x}px, ${y}px)`;
    tile.style.width = tile.style.height = `${this.size - 6}px`;
  }

  mark() {
    for (const [index, tile] of this.tiles) {
      tile.setAttribute("aria-selected", String(this.selected.has(this.rows[index][0])));
      tile.classList.toggle("current", index === this.at);
    }
    const current = this.rows[this.at];
    if (current && this.tiles.has(this.at)) this.element.setAttribute("aria-activedescendant", `tile-${current[0]}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  changed() {
    this.mark();
    this.options.onselect?.([...this.selected]);
  }

  /** @param {MouseEvent} event @returns {number} */
  indexOf(event) {
    const tile = /** @type {Element} */ (event.target).closest(".tile");
    return tile instanceof HTMLElement ? Number(tile.dataset.index) : -1;
  }

  /** @param {MouseEvent} event */
  click(event) {
    const index = this.indexOf(event);
    if (index < 0) return;
    if (event.shiftKey) this.extend(index);
    else this.toggle(index, true);
    this.element.focus({ preventScroll: true });
  }

  /** @param {number} index @param {boolean} keep whether others stay selected */
  toggle(index, keep) {
    const id = this.rows[index][0];
    const was = this.selected.has(id);
    if (!keep) this.selected.clear();
    if (was) this.selected.delete(id);
    else this.selected.add(id);
    this.at = this.anchor = index;
    this.changed();
  }

  /** @param {number} index */
  extend(index) {
    const [from, to] = index < this.anchor ? [index, this.anchor] : [this.anchor, index];
    for (let one = from; one <= to; one += 1) this.selected.add(this.rows[one][0]);
    this.at = index;
    this.changed();
  }

  /** @param {number} index */
  open(index) {
    if (index >= 0 && this.rows[index]) this.options.onopen?.(this.rows[index]);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.size)) * this.columns;
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    if (!this.rows.length) return;
    if (event.key in steps) {
      const next = Math.max(0, Math.min(this.rows.length - 1, this.at + steps[event.key]));
      if (event.shiftKey) this.extend(next);
      else this.at = this.anchor = next;
      this.reveal();
    } else if (event.key === " ") this.toggle(this.at, true);
    else if (event.key === "Enter") this.open(this.at);
    else if (event.key === "Escape") { this.selected.clear(); this.changed(); }
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      this.selected = new Set(this.rows.map((row) => row[0]));
      this.changed();
    } else {
      this.options.onkey?.(event, this.selected.size ? [...this.selected] : [this.rows[this.at][0]]);
      return;
    }
    event.preventDefault();
  }

  reveal() {
    const y = Math.floor(this.at / this.columns) * this.size;
    if (y < this.element.scrollTop) this.element.scrollTop = y;
    else if (y + this.size > this.element.scrollTop + this.element.clientHeight) this.element.scrollTop = y + this.size - this.element.clientHeight;
    this.draw();
  }
}

/** @param {Event} event */
function unreadable(event) {
  const image = /** @type {HTMLElement} */ (event.target);
  image.replaceWith(h("span", { class: "missing" }, "cannot be read"));
}
