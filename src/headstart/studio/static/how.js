// Learn how it works: two experiments of the lab to play with, and the blocks of a real network.
import { h } from "./dom.js";
import { identity } from "./identity.js";
import { batchNorm } from "./batch_norm.js";
import { residualBlocks } from "./blocks.js";

/** @returns {import("./main.js").Page} */
export function how() {
  const first = identity();
  const others = [residualBlocks(), batchNorm()];
  return {
    element: h("div", { class: "how" }, first.element, others.map((one) => one.element)),
    lines: () => {
      const used = others.find((one) => one.used());
      return { command: used ? used.command() : "headstart lab identity", python: used ? used.python() : "hs.lab.run_experiment(\"identity\")" };
    },
    close: first.close,
  };
}
