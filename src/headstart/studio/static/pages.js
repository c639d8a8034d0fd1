// The pages of the studio, in their order.
import { collect } from "./collect.js";
import { learn } from "./learn.js";
import { look } from "./look.js";
import { tryPage } from "./try.js";
import { deliver } from "./deliver.js";
import { how } from "./how.js";

/** @type {{name: string, title: string, open: () => import("./main.js").Page}[]} */
export const PAGES = [
  { name: "collect", title: "Collect", open: collect },
  { name: "learn", title: "Learn", open: learn },
  { name: "look", title: "Look", open: look },
  { name: "try", title: "Try", open: tryPage },
  { name: "deliver", title: "Deliver", open: deliver },
  { name: "how", title: "How it works", open: how },
];
