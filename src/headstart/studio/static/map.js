// Each image as a point: the two directions in which the features vary most. Wheel or + and - zoom, arrows and drag
// move; pointing at a dot shows its image, and where few dots are left they become thumbnails. With the lasso, or the
// space bar for the dot in the middle, images are selected, and moved to another class together.
import { h, fill, button, choose, counted } from "./dom.js";
import { get, post, picture } from "./api.js";
import { store } from "./store.js";
import { attempt, say } from "./said.js";
import { undo } from "./main.js";
import { enlarge } from "./images.js";

const COLOURS = ["--blue", "--orange", "--series-3", "--series-4", "--series-5", "--series-6", "--series-7", "--series-8"];
const NEAR = 14; // pixels within which a dot is meant
const THUMBNAILS = 60; // dots on the map at which they become pictures

/** @typedef {[id: string, version: string, x: number, y: number, label: number, predicted: number]} Point */

export function embeddingMap() {
  const canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": "Map of the images by their features" });
  const peek = h("div", { class: "peek" }, h("p", { class: "muted small" }, "Point at a dot, or press Enter for the one in the middle; the space bar selects it."));
  const legend = h("ul", { class: "legend" });
  const lasso = button("Lasso", () => { lasso.setAttribute("aria-pressed", String(lasso.getAttribute("aria-pressed") !== "true")); }, { "aria-pressed": "false" });
  const chosen = h("p", { class: "row", role: "status" });
  const element = h("section", { class: "map", "aria-label": "Embedding map" }, h("h2", {}, "Map of the images"), h("p", { class: "muted" }, "Similar images lie close together. A ring marks those that were classified wrongly while left out."), legend, h("div", { class: "mapped" }, canvas, peek),
    h("p", { class: "row" }, lasso, button("Zoom in", () => zoom(1.5)), button("Zoom out", () => zoom(1 / 1.5)), button("Whole map", () => { view = { x: 0, y: 0, scale: 1 }; draw(); })), chosen);
  /** @type {Point[]} */ let points = [];
  /** @type {string[]} */ let classes = [];
  let view = { x: 0, y: 0, scale: 1 };
  let span = 1;
  /** @type {{x: number, y: number}|null} */ let drag = null;
  /** @type {[number, number][]} */ let loop = []; // of the lasso, in pixels
  /** @type {Set<string>} */ const selected = new Set();
  /** @type {Map<string, HTMLImageElement>} */ const loaded = new Map();

  async function show() {
    const found = await attempt(() => get("/api/look/map"));
    if (!found) return;
    ({ points, classes } = found);
    const there = new Set(points.map((one) => one[0]));
    for (const id of selected) if (!there.has(id)) selected.delete(id);
    showChosen();
    span = Math.max(1e-9, ...points.map((one) => Math.max(Math.abs(one[2]), Math.abs(one[3]))));
    fill(legend, classes.map((name, index) => {
      const dot = h("i", { "aria-hidden": "true" });
      dot.style.background = `var(${COLOURS[index % COLOURS.length]})`;
      return h("li", {}, dot, h("span", { class: "name" }, name));
    }));
    draw();
  }

  /** @param {Point} point @returns {[number, number]} */
  function place([, , x, y]) {
    const side = Math.min(canvas.clientWidth, canvas.clientHeight) / 2.2;
    return [canvas.clientWidth / 2 + (x / span - view.x) * side * view.scale, canvas.clientHeight / 2 - (y / span - view.y) * side * view.scale];
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colours = COLOURS.map((name) => style.getPropertyValue(name));
    const [problem, accent, text] = ["--problem", "--accent", "--text"].map((name) => style.getPropertyValue(name));
    const seen = points.map((one) => /** @type {[Point, number, number]} */ ([one, ...place(one)])).filter(([, x, y]) => x > -40 && y > -40 && x < width + 40 && y < height + 40);
    const pictures = seen.length <= THUMBNAILS;
    for (const [one, x, y] of seen) {
      const colour = colours[one[4] % colours.length];
      const image = pictures ? thumbnail(one) : null;
      if (selected.has(one[0])) { pen.strokeStyle = text; pen.lineWidth = 2; pen.beginPath(); pen.arc(x, y, image?.complete ? 32 : 10, 0, 7); pen.stroke(); }
      if (image?.complete && image.naturalWidth) {
        pen.drawImage(image, x - 20, y - 20, 40, 40);
        pen.lineWidth = one[4] === one[5] ? 2 : 4;
        pen.strokeStyle = one[4] === one[5] ? colour : problem;
        pen.strokeRect(x - 20, y - 20, 40, 40);
        continue;
      }
      pen.fillStyle = colour;
      pen.beginPath();
      pen.arc(x, y, 4, 0, 7);
      pen.fill();
      if (one[4] !== one[5]) { pen.lineWidth = 2; pen.strokeStyle = problem; pen.beginPath(); pen.arc(x, y, 7, 0, 7); pen.stroke(); }
    }
    if (loop.length > 1) {
      pen.strokeStyle = accent;
      pen.lineWidth = 2;
      pen.setLineDash([6, 4]);
      pen.beginPath();
      for (const [x, y] of loop) pen.lineTo(x, y);
      pen.stroke();
    }
  }

  /** Select the dots inside the loop; without Shift, those alone. @param {boolean} more */
  function closeLoop(more) {
    if (!more) selected.clear();
    for (const one of points) if (isInside(place(one), loop)) selected.add(one[0]);
    loop = [];
    showChosen();
    draw();
  }

  function showChosen() {
    const ids = [...selected];
    if (!ids.length) { fill(chosen); return; }
    fill(chosen, h("strong", {}, `${counted(ids.length, "image")} selected`), button("Move to…", async () => relabel(ids, await choose(`Move ${counted(ids.length, "image")} to`, (store.state?.classes ?? []).map((one) => one.name))), { class: "primary" }),
      button("Clear", () => { selected.clear(); showChosen(); draw(); }));
  }

  /** @param {string[]} ids @param {string|null} label */
  async function relabel(ids, label) {
    if (!label || !(await attempt(() => post("/api/images/move", { ids, label })))) return;
    selected.clear(); // a moved image has another number
    showChosen();
    draw();
    say(`Moved ${counted(ids.length, "image")} to ${label}.`, { action: "Undo", onaction: undo });
  }

  /** @param {Point} one */
  function thumbnail([id, version]) {
    const known = loaded.get(id);
    if (known) return known;
    const image = new Image();
    image.onload = draw;
    image.src = picture(id, version);
    loaded.set(id, image);
    return image;
  }

  /** @param {number} x @param {number} y @param {number} [within] @returns {Point|null} */
  function nearest(x, y, within = NEAR) {
    let best = null;
    let least = within;
    for (const one of points) {
      const [px, py] = place(one);
      const distance = Math.hypot(px - x, py - y);
      if (distance < least) { least = distance; best = one; }
    }
    return best;
  }

  /** @returns {Point|null} the dot nearest to the middle of the map */
  function middle() {
    return nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity);
  }

  /** @param {Point|null} one */
  function toggle(one) {
    if (!one) return;
    if (!selected.delete(one[0])) selected.add(one[0]);
    point(one);
    showChosen();
    draw();
  }

  /** @param {Point|null} one */
  function point(one) {
    if (!one) return;
    const said = one[4] === one[5] ? classes[one[4]] : `${classes[one[4]]}, predicted as ${classes[one[5]]}`;
    fill(peek, h("button", { type: "button", class: "frame", "aria-label": `Show an image of ${said}`, onclick: () => enlarge(one[0], one[1], said) }, h("img", { src: picture(one[0], one[1]), alt: "" })), h("p", { class: "name" }, said));
  }

  /** @param {number} by */
  function zoom(by) {
    view.scale = Math.max(0.5, Math.min(60, view.scale * by));
    draw();
  }

  /** @param {number} dx @param {number} dy in pixels */
  function move(dx, dy) {
    const side = (Math.min(canvas.clientWidth, canvas.clientHeight) / 2.2) * view.scale;
    view.x -= dx / side;
    view.y += dy / side;
    draw();
  }

  canvas.addEventListener("wheel", (/** @type {WheelEvent} */ event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, { passive: false });
  canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    canvas.setPointerCapture(event.pointerId);
    if (lasso.getAttribute("aria-pressed") === "true") loop = [[event.offsetX, event.offsetY]];
    else drag = { x: event.clientX, y: event.clientY };
  });
  canvas.addEventListener("pointerup", (/** @type {PointerEvent} */ event) => { drag = null; if (loop.length) closeLoop(event.shiftKey); });
  canvas.addEventListener("pointercancel", () => { drag = null; loop = []; draw(); });
  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (loop.length) { loop.push([event.offsetX, event.offsetY]); draw(); return; }
    if (drag) { move(event.clientX - drag.x, event.clientY - drag.y); drag = { x: event.clientX, y: event.clientY }; } else point(nearest(event.offsetX, event.offsetY));
  });
  canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    /** @type {Record<string, () => void>} */
    const keys = { "+": () => zoom(1.5), "-": () => zoom(1 / 1.5), ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0), ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40), Enter: () => point(middle()), " ": () => toggle(middle()) };
    if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
  });
  new ResizeObserver(draw).observe(canvas);
  const scheme = matchMedia("(prefers-color-scheme: dark)"); // a canvas keeps the colours it was drawn with
  scheme.addEventListener("change", draw);
  return { element, show, close: () => scheme.removeEventListener("change", draw) };
}

/** Whether a point lies inside a loop that is closed by a straight line (even-odd rule). @param {[number, number]} at @param {[number, number][]} loop */
export function isInside([x, y], loop) {
  let inside = false;
  for (let i = 0, j = loop.length - 1; i < loop.length; j = i, i += 1) {
    const [[xi, yi], [xj, yj]] = [loop[i], loop[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}
