// What a change of the folder is in a terminal and in Python. The page keeps what it removes, for Undo; these lines do not.
import { store } from "./store.js";
import { quoted } from "./commands.js";

/** @typedef {[what: string, command: string, python: string]} Line */

/** @param {string} name of a class @returns {string[]} its folders: one in each split, first the one where new images go */
function foldersOf(name) {
  const found = store.state?.classes.find((one) => one.name === name)?.folders ?? [];
  return found.length ? found : [`${store.state?.folder ?? ""}/${name}`];
}

/** @param {string} folder @param {string} name of the folder beside it */
const beside = (folder, name) => `${folder.slice(0, folder.lastIndexOf("/"))}/${name}`;
const text = (/** @type {string} */ path) => JSON.stringify(path);

/** @param {string} name of a class @param {(folder: string) => string} command @param {string} first line of Python @param {(folder: string) => string} python */
function each(name, command, first, python) {
  const folders = foldersOf(name);
  return /** @type {[string, string]} */ ([folders.map(command).join(" && "), `${first}; ${folders.map(python).join("; ")}`]);
}

/** @param {string} one @param {string} other names of classes @returns {Line} */
export function moveLine(one, other) {
  const [from, to] = [`${foldersOf(one)[0]}/IMAGE`, `${foldersOf(other)[0]}/`];
  return ["Move an image to another class", `mv -n ${quoted(from)} ${quoted(to)}`, `import shutil; shutil.move(${text(from)}, ${text(to)})`];
}

/** @param {string} name of a class @returns {Line} */
export function copyLine(name) {
  const to = `${foldersOf(name)[0]}/`;
  return ["Add the picture to a class", `cp -n PICTURE ${quoted(to)}`, `import shutil; shutil.copy("PICTURE", ${text(to)})`];
}

/** @param {string} one @param {string} other names of classes @returns {Line[]} */
export function classLines(one, other) {
  const made = beside(foldersOf(one)[0], "NEW");
  const into = `${foldersOf(other)[0]}/`;
  const image = `${foldersOf(one)[0]}/IMAGE`;
  return [
    ["Make a class", `mkdir ${quoted(made)}`, `from pathlib import Path; Path(${text(made)}).mkdir()`],
    ["Rename a class", ...each(one, (folder) => `mv ${quoted(folder)} ${quoted(beside(folder, "NEW"))}`, "from pathlib import Path", (folder) => `Path(${text(folder)}).rename(${text(beside(folder, "NEW"))})`)],
    ["Merge a class into another", ...each(one, (folder) => `mv -n ${quoted(folder)}/* ${quoted(into)} && rmdir ${quoted(folder)}`, "import shutil; from pathlib import Path", (folder) => `[shutil.move(path, ${text(into)}) for path in Path(${text(folder)}).iterdir()]; Path(${text(folder)}).rmdir()`)],
    ["Delete a class", ...each(one, (folder) => `rm -r ${quoted(folder)}`, "import shutil", (folder) => `shutil.rmtree(${text(folder)})`)],
    moveLine(one, other),
    ["Delete an image", `rm ${quoted(image)}`, `from pathlib import Path; Path(${text(image)}).unlink()`],
  ];
}
