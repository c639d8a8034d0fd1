// Elements made in one line. Text from outside only ever becomes a text node.

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [props] attributes; `on…` are listeners, `class` and `data-…` as in HTML; null and false are left out
 * @param {...any} children texts, numbers, elements, lists of these; null and false are left out
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, ...children);
  return element;
}

/**
 * Add children; texts and numbers as text nodes.
 * @param {Element} element
 * @param {...any} children
 */
export function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Put other children in place of those there are; a focused element that stays keeps its focus.
 * @param {Element} element
 * @param {...any} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, ...children);
}

/**
 * A button.
 * @param {string} text
 * @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function button(text, onclick, props = {}) {
  return h("button", { type: "button", onclick, ...props }, text);
}

/** @param {number} share @returns {string} `94.8 %`, never on two lines */
export function percent(share) {
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

/** @param {{value: number, low: number, high: number}|null} interval @returns {string} `94.8 % [90.0, 97.3]` */
export function withInterval(interval) {
  if (!interval) return "–";
  return `${percent(interval.value)} [${(100 * interval.low).toFixed(1)}, ${(100 * interval.high).toFixed(1)}]`;
}

/** @param {number} seconds @returns {string} `12 s`, `3 min 20 s`, `2 h 5 min` */
export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  return `${Math.floor(whole / 3600)} h${Math.floor((whole % 3600) / 60) ? ` ${Math.floor((whole % 3600) / 60)} min` : ""}`;
}

/** @param {number} count @param {string} one @returns {string} `1 image`, `1,200 images` */
export function counted(count, one) {
  const many = one.endsWith("s") ? `${one}es` : one.endsWith("y") ? `${one.slice(0, -1)}ies` : `${one}s`;
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/**
 * Ask for a text in a dialog of the page.
 * @param {string} title @param {string} value @param {string} action text of the button
 * @returns {Promise<string|null>} null: cancelled
 */
export function ask(title, value, action) {
  return new Promise((resolve) => {
    const field = h("input", { value, "aria-label": title, autocomplete: "off", spellcheck: "false" });
    const dialog = h("dialog", { "aria-label": title });
    const done = (/** @type {string|null} */ answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // else the same key would press the button that has the focus after the dialog is closed
      done(field.value);
    });
    add(dialog, h("h2", {}, title), field,
      h("p", { class: "row end" }, button("Cancel", () => done(null)), button(action, () => done(field.value), { class: "primary" })));
    dialog.addEventListener("cancel", () => done(null));
    document.body.append(dialog);
    dialog.showModal();
    field.select();
  });
}

/**
 * Let someone choose one of several in a dialog of the page.
 * @param {string} title @param {string[]} choices
 * @returns {Promise<string|null>} null: cancelled
 */
export function choose(title, choices) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title });
    const done = (/** @type {string|null} */ answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    add(dialog, h("h2", {}, title), h("div", { class: "choices" }, choices.map((one) => button(one, () => done(one)))),
      h("p", { class: "row end" }, button("Cancel", () => done(null))));
    dialog.addEventListener("cancel", () => done(null));
    document.body.append(dialog);
    dialog.showModal();
  });
}
