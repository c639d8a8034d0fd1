// The classifier in the browser: a photograph or a camera's frame goes in as it is, probabilities come out.
import * as ort from "./ort.wasm.min.mjs";

const MOST_PIXELS = 32_000_000; // larger photographs are halved first, as headstart does
const SHOWN = 5; // classes of an answer
const element = (id) => document.getElementById(id);

ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;

let session, facts;
let queue = Promise.resolve(); // one image after another: a session runs one at a time

async function open() {
  const answer = await fetch("classifier.json");
  if (!answer.ok) throw new Error(`classifier.json: ${answer.status}`);
  facts = await answer.json();
  element("classes").textContent = `Classes: ${facts.classes.join(", ")}`;
  session = await ort.InferenceSession.create("classifier.onnx", { executionProviders: ["wasm"] });
}

// RGB H×W×3, transparency over the classifier's background, as headstart opens an image.
function pixelsOf(source, width, height) {
  let factor = 1;
  while (width * height > MOST_PIXELS * factor ** 2 && factor < 8) factor *= 2;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const alpha = rgba[from + 3];
    for (let channel = 0; channel < 3; channel++) {
      rgb[to++] = Math.round((rgba[from + channel] * alpha + facts.background[channel] * (255 - alpha)) / 255);
    }
  }
  return new ort.Tensor("uint8", rgb, [canvas.height, canvas.width, 3]);
}

async function pixelsOfFile(file) {
  const kept = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, kept);
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

async function classify(image) {
  const out = await session.run({ image });
  const probabilities = Array.from(out.probabilities.data);
  const order = probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a]);
  const doubts = [];
  if (out.familiar && facts.threshold !== null && out.familiar.data[0] > facts.threshold) {
    doubts.push("Unlike the training images: do not rely on this answer.");
  }
  if (out.atypical && out.atypical.data[0]) doubts.push("Atypical for its class.");
  const inside = out.set ? order.filter((index) => out.set.data[index]) : [];
  if (inside.length > 1) doubts.push(`Cannot rule out: ${inside.map((index) => facts.classes[index]).join(", ")}.`);
  return { probabilities, order, doubts };
}

function show(answer, into) {
  const [best] = answer.order;
  const title = document.createElement("h2");
  title.textContent = `${facts.classes[best]} (${percent(answer.probabilities[best])})`;
  const bars = document.createElement("dl");
  for (const index of answer.order.slice(0, SHOWN)) {
    const [name, bar, number] = ["dt", "dd", "dd"].map((tag) => document.createElement(tag));
    const progress = document.createElement("progress");
    [progress.max, progress.value] = [1, answer.probabilities[index]];
    progress.setAttribute("aria-label", facts.classes[index]);
    name.textContent = facts.classes[index];
    number.textContent = percent(answer.probabilities[index]);
    bar.append(progress);
    bars.append(name, bar, number);
  }
  const doubts = answer.doubts.map((text) => {
    const line = document.createElement("p");
    line.className = "doubt";
    line.textContent = text;
    return line;
  });
  into.replaceChildren(title, ...doubts, bars);
  into.dataset.probabilities = JSON.stringify(answer.probabilities);
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function add(file) {
  const card = document.createElement("article");
  const picture = document.createElement("img");
  const name = document.createElement("p");
  const body = document.createElement("div");
  picture.alt = "";
  picture.src = URL.createObjectURL(file);
  picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
  name.className = "name";
  name.textContent = file.name;
  body.textContent = "…";
  card.append(picture, name, body);
  element("answers").prepend(card);
  queue = queue.then(async () => {
    try {
      show(await classify(await pixelsOfFile(file)), body);
    } catch (error) {
      body.textContent = `Cannot be opened: ${error.message}`;
    }
    card.dataset.done = "yes";
  });
}

let stream = null;

async function toggleCamera() {
  const video = element("video");
  if (stream !== null) {
    stream.getTracks().forEach((track) => track.stop());
    [stream, video.srcObject, element("live").hidden] = [null, null, true];
    element("camera").textContent = "Use the camera";
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    element("status").textContent = `No camera: ${error.message}`;
    return;
  }
  [video.srcObject, element("live").hidden] = [stream, false];
  element("camera").textContent = "Stop the camera";
  await video.play();
  while (stream !== null) {
    queue = queue.then(async () => {
      if (stream !== null && video.videoWidth) {
        show(await classify(pixelsOf(video, video.videoWidth, video.videoHeight)), element("live-answer"));
      }
    });
    await queue;
    await new Promise((next) => requestAnimationFrame(next));
  }
}

function listen() {
  const drop = element("drop");
  element("files").addEventListener("change", (event) => {
    [...event.target.files].forEach(add);
    event.target.value = ""; // the same file again is a change, too
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") [...event.dataTransfer.files].forEach(add);
    });
  }
  element("files").disabled = false;
  if (navigator.mediaDevices?.getUserMedia) {
    element("camera").disabled = false;
    element("camera").addEventListener("click", toggleCamera);
  } else {
    element("camera").textContent = "The camera needs https or localhost";
  }
}

try {
  await open();
  listen();
  element("status").textContent = "Ready.";
} catch (error) {
  element("status").textContent = `The classifier cannot be loaded: ${error.message}`;
}
document.body.dataset.ready = "yes";
