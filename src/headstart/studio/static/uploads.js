// Files on their way to the server: four at a time, in one batch that a single undo takes back.
import { send } from "./api.js";
import { say } from "./said.js";
import { counted } from "./dom.js";

const AT_ONCE = 4;
const ARCHIVE = /\.(zip|tar|tgz|tar\.gz|tar\.bz2|tar\.xz)$/i;

/** @typedef {{file: File, folder: string}} Dropped */

/** @returns {string} */
export function newBatch() {
  return crypto.randomUUID();
}

/**
 * The files of a drop, those inside folders too.
 * @param {DataTransfer} transfer
 * @returns {Promise<Dropped[]>}
 */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, folder: "" }));
  /** @type {Dropped[]} */ const found = [];
  for (const entry of entries) await walk(entry, [], found);
  return found;
}

/** @param {any} entry @param {string[]} above @param {Dropped[]} found */
async function walk(entry, above, found) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    found.push({ file, folder: above.join("/") });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives at most a hundred at a time
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const one of some) await walk(one, [...above, entry.name], found);
  }
}

/**
 * The files of `<input type="file">`, also of a folder.
 * @param {FileList} list
 * @returns {Dropped[]}
 */
export function chosenFiles(list) {
  return [...list].map((file) => ({ file, folder: file.webkitRelativePath.split("/").slice(0, -1).join("/") }));
}

/**
 * The class that a folder's path names: the innermost folder; a folder that holds only class folders is no class.
 * @param {string} folder
 */
export function classOf(folder) {
  return folder.split("/").pop() ?? "";
}

/**
 * Send files to classes.
 * @param {{file: File, label: string}[]} files archives without a label are unpacked into the classes their folders name
 * @param {(done: number, total: number) => void} onprogress
 * @returns {Promise<number>} images added
 */
export async function upload(files, onprogress) {
  const batch = newBatch();
  const waiting = [...files];
  /** @type {string[]} */ const refused = [];
  let done = 0;
  let added = 0;
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      try {
        const more = await one(next, batch); // not `added += await`: that reads it before the others have added
        added += more;
      } catch (error) {
        refused.push(`${next.file.name}: ${/** @type {Error} */ (error).message}`);
      }
      done += 1;
      onprogress(done, files.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const first = refused.slice(0, 3).join(" · ");
  if (refused.length) say(`${counted(refused.length, "file")} not added. ${first}${refused.length > 3 ? " …" : ""}`, { problem: true });
  return added;
}

/** @param {{file: File, label: string}} item @param {string} batch @returns {Promise<number>} */
async function one({ file, label }, batch) {
  if (ARCHIVE.test(file.name)) {
    const answer = await send("/api/archives", file, { label, batch });
    if (answer.refused.length) say(`${file.name}: ${counted(answer.refused.length, "file")} left out. ${answer.refused[0]}`, { problem: true });
    return answer.added;
  }
  await send("/api/images", file, { label, name: file.name, batch });
  return 1;
}
