// The static page of a run: made by `export --to page`, downloaded as one zip; what it needs where there is no network.
import { h, fill, button, percent } from "./dom.js";
import { get, post, send } from "./api.js";
import { on } from "./store.js";
import { attempt, say } from "./said.js";

export class StaticPage {
  /** @param {() => string} run name of the chosen run @param {() => void} onlines when the lines of a terminal and of Python are known */
  constructor(run, onlines) {
    this.run = run;
    this.onlines = onlines;
    /** @type {string[]} */ this.said = [];
    this.body = h("div", {});
    this.status = h("p", { role: "status", class: "muted" });
    this.make = button("Make the static page", () => this.write());
    this.file = h("input", { type: "file", accept: ".tgz,.gz", hidden: true, "aria-label": "onnxruntime-web as a tgz file", onchange: () => this.take() });
    this.element = h("section", { "aria-label": "Static page" }, h("h3", {}, "In a browser"), this.body, this.status, this.file);
    this.close = on("exporting", (values) => { if (values.step && this.make.disabled) fill(this.status, `${values.step}: ${values.done} of ${values.total}`); });
  }

  get address() {
    return `/api/page/${encodeURIComponent(this.run())}`;
  }

  async show() {
    fill(this.status);
    this.draw(await attempt(() => get(this.address)));
  }

  /** @param {any} there */
  draw(there) {
    if (!there) return;
    this.said = [there.command, there.python];
    this.onlines();
    const code = (/** @type {string} */ text) => h("pre", { class: "card", tabindex: "0" }, h("code", {}, text));
    fill(this.body,
      h("p", {}, "A page that answers in the browser of whoever opens it: no server of yours, and no picture leaves their device. Any static host takes its files."),
      !there.runtime && h("p", {}, `It needs onnxruntime-web ${there.version} (14 MB, MIT licence), which is not on this machine yet. With npm and a network it is fetched once. Without: run `, h("code", {}, there.fetch), " on another machine, and choose its file here."),
      h("p", { class: "row" }, this.make, !there.runtime && button("Choose the file", () => this.file.click()), there.made && h("a", { href: `${this.address}/zip`, download: true }, "Static page as a zip"), there.made && h("span", { class: "muted small" }, `${(there.bytes / 1e6).toFixed(1)} MB unpacked`)),
      there.made && [h("p", {}, "Unpack it on a web host. To see it on this machine, serve its folder and open ", h("code", {}, there.see), ":"), code(there.serve)]);
  }

  async write() {
    this.make.disabled = true;
    fill(this.status, "Making the page: about half a minute …");
    const found = await attempt(() => post(this.address));
    this.make.disabled = false;
    fill(this.status, found ? `Made. ${percent(found.agreement)} of ${found.images} images get the classifier's class.` : "");
    this.draw(found);
  }

  async take() {
    const file = this.file.files?.[0];
    if (!file) return;
    const found = await attempt(() => send(`${this.address}/runtime`, file));
    this.file.value = "";
    if (found) say("onnxruntime-web is here. The static page can be made.");
    this.draw(found);
  }
}
