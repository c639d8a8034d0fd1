// The frame of the page: which page is shown, the live accuracy, undo, and notices.
import { h, fill, counted, percent } from "./dom.js";
import { post } from "./api.js";
import { store, on, connect, refresh } from "./store.js";
import { attempt, say } from "./said.js";
import { showLines } from "./commands.js";
import { PAGES } from "./pages.js";

/** @typedef {{element: HTMLElement, lines: () => import("./commands.js").Lines, close?: () => void}} Page */

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
const live = /** @type {HTMLElement} */ (document.getElementById("live"));
const footer = /** @type {HTMLElement} */ (document.getElementById("footer"));
/** @type {Page|null} */ let page = null;
let shown = "";

function route() {
  const name = location.hash.slice(1) || "collect";
  if (name === "main") { main.focus(); return; }
  const wanted = PAGES.find((one) => one.name === name) ?? PAGES[0];
  if (wanted.name === shown) { lines(); return; }
  page?.close?.();
  shown = wanted.name;
  page = wanted.open();
  fill(main, page.element);
  document.title = `${wanted.title} – headstart studio`;
  for (const link of nav.children) {
    if (link.getAttribute("href") === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  lines();
  window.scrollTo(0, 0);
}

function lines() {
  if (page && store.state) showLines(footer, page.lines());
}

function showLive() {
  const learned = store.learned;
  live.classList.toggle("off", !store.connected);
  if (!store.connected) fill(live, "not connected");
  else if (learned?.accuracy) fill(live, h("strong", {}, percent(learned.accuracy.value)), ` of ${counted(learned.images, "image")}`);
  else fill(live, learned?.missing || "…");
}

export async function undo() {
  const answer = await attempt(() => post("/api/undo"));
  if (answer) say(answer.text || "There is nothing to undo.");
}

fill(nav, PAGES.map((one) => h("a", { href: `#${one.name}` }, one.title)));
window.addEventListener("hashchange", route);
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typing) { event.preventDefault(); undo(); }
});
on("state", lines);
on("learned", showLive);
on("connection", showLive);
on("notice", ({ text }) => say(text));
refresh().then(route);
connect();
