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
      /** @type {[string, string, string][]} */
      const all = [["Can a unit learn to do nothing?", "headstart lab identity", "hs.lab.run_experiment(\"identity\")"], ["What does a residual block do?", others[0].command(), others[0].python()], ["What batch norm remembers", others[1].command(), others[1].python()]];
      const [, command, python] = used ? [used, used.command(), used.python()] : all[0];
      return { command, python, more: all.filter((one) => one[1] !== command) };
    },
    close: first.close,
  };
}
