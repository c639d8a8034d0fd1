// What the server says, in one place: the state of the folder, the last result, events for who listens.
import { get } from "./api.js";

/** @typedef {{name: string, images: number, folders: string[]}} ClassCount */
/** @typedef {{folder: string, quoted: string, out: string, quoted_out: string, revision: string, classes: ClassCount[], unlabelled: number, images: number, locked: string, undo: string, runs: string[], backbone: string, offline: boolean}} State */

/** @type {{state: State|null, learned: any, training: any, serving: any, epochs: any, steps: any, progress: any, connected: boolean}} */
export const store = { state: null, learned: null, training: null, serving: null, epochs: null, steps: null, progress: null, connected: false };

const KINDS = ["changed", "learned", "audited", "progress", "notice", "training", "exporting", "serving", "advising", "ahead", "epochs", "steps", "closing"];
/** @type {Map<string, Set<(values: any) => void>>} */
const listeners = new Map();
/** @type {EventSource|null} */
let source = null;
let reading = Promise.resolve();

/**
 * Be called with each event of a kind; `state` comes whenever the state was read again.
 * @param {string} kind @param {(values: any) => void} call
 * @returns {() => void} stops it
 */
export function on(kind, call) {
  const calls = listeners.get(kind) ?? new Set();
  listeners.set(kind, calls.add(call));
  return () => calls.delete(call);
}

/** @param {string} kind @param {any} [values] */
export function emit(kind, values) {
  for (const call of listeners.get(kind) ?? []) call(values);
}

/** Which classes the live head does not know. @returns {string} a sentence; empty: it knows all */
export function lacking() {
  const names = store.learned?.accuracy ? store.learned.empty : [];
  if (!names.length) return "";
  const shown = names.slice(0, 5).join(", ") + (names.length > 5 ? ` and ${names.length - 5} more` : "");
  return names.length === 1 ? `${shown} has no images that can be read: until it has, it is no possible answer.` : `${shown} have no images that can be read: until they have, they are no possible answers.`;
}

/** Read the state again; several wishes while it is being read become one. @returns {Promise<void>} */
export function refresh() {
  reading = reading.then(async () => {
    try {
      store.state = await get("/api/state");
      emit("state", store.state);
    } catch (error) {
      emit("notice", { text: String(/** @type {Error} */ (error).message) });
    }
  });
  return reading;
}

/** Listen to the server's events; a page that is not seen does not, for a browser has six connections. */
export function connect() {
  const open = () => {
    if (source) return;
    source = new EventSource("/api/events");
    source.onopen = () => { store.connected = true; emit("connection"); refresh(); };
    source.onerror = () => { store.connected = false; emit("connection"); };
    for (const kind of KINDS) source.addEventListener(kind, (event) => received(kind, JSON.parse(event.data)));
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  open();
}

/** @param {string} kind @param {any} values */
function received(kind, values) {
  if (kind === "learned") store.learned = values;
  if (kind === "training") store.training = values;
  if (kind === "serving" || kind === "epochs" || kind === "steps") store[kind] = values;
  if (kind === "progress") store.progress = values;
  if (kind === "changed") refresh();
  emit(kind, values);
}
