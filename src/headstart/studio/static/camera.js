// The camera: a picture now, or a burst for as long as a button or the space bar is held. One hold is one group.
import { h, fill, button, counted } from "./dom.js";
import { post, send } from "./api.js";
import { attempt, say } from "./said.js";

const EVERY = 120; // milliseconds between two frames: eight a second differ enough to be worth keeping
const QUALITY = 0.92;
const SIDE = 640;

/** @param {HTMLVideoElement} video @returns {Promise<Blob>} */
export function frameOf(video) {
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = h("canvas", { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((/** @type {Blob|null} */ blob) => (blob ? resolve(blob) : reject(new Error("no frame"))), "image/jpeg", QUALITY);
  });
}

/**
 * Show the camera.
 * @param {HTMLVideoElement} video
 * @returns {Promise<() => void>} turns it off
 */
export async function openCamera(video) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give the camera only to localhost and https. Open the studio on this machine, at 127.0.0.1.");
  }
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: SIDE } }, audio: false }).catch((error) => {
    const why = error.name === "NotAllowedError" ? "The browser was not allowed to use it." : error.message;
    throw new Error(`No camera: ${why}`);
  });
  video.srcObject = stream;
  await video.play();
  return () => { for (const track of stream.getTracks()) track.stop(); video.srcObject = null; };
}

/**
 * A panel that records into a class.
 * @param {() => string} label the class that is chosen now
 */
export class Recorder {
  /** @param {() => string} label */
  constructor(label) {
    this.label = label;
    this.video = h("video", { muted: true, playsinline: true, "aria-label": "Camera" });
    this.video.muted = true;
    this.count = h("span", { class: "muted" });
    this.hold = h("button", {
      type: "button", class: "primary hold", onpointerdown: () => this.start(), onpointerup: () => this.stop(),
      onpointercancel: () => this.stop(), onpointerleave: () => this.stop(), onblur: () => this.stop(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); if (!event.repeat) this.start(); } },
      onkeyup: () => this.stop(), oncontextmenu: (/** @type {Event} */ event) => event.preventDefault(),
    }, "Hold to record");
    this.element = h("section", { class: "camera", "aria-label": "Camera", hidden: true });
    /** @type {(() => void)|null} */ this.close = null;
    this.recording = 0;
  }

  async toggle() {
    if (this.close) { this.off(); return; }
    await attempt(async () => {
      this.close = await openCamera(this.video);
      this.element.hidden = false;
      fill(this.element, this.video, h("div", { class: "row" }, this.hold, button("Close", () => this.off()), this.count),
        h("p", { class: "muted small" }, "One hold is one burst: its frames are so alike that they are left out together when the accuracy is measured. Hold several times, each time in another place or light."));
      this.hold.focus();
    });
  }

  off() {
    this.stop();
    this.close?.();
    this.close = null;
    this.element.hidden = true;
  }

  async start() {
    if (this.recording || !this.close) return;
    const label = this.label();
    if (!label) { say("Make a class first.", { problem: true }); return; }
    this.recording += 1;
    const own = this.recording;
    this.hold.classList.add("on");
    await attempt(async () => {
      const { burst } = await post("/api/bursts");
      let frames = 0;
      /** @type {Promise<any>[]} */ const sent = [];
      do {
        const began = performance.now();
        const frame = await frameOf(this.video);
        sent.push(send("/api/images", frame, { label, batch: burst, burst, name: "frame" }));
        frames += 1;
        fill(this.count, counted(frames, "frame"));
        if (sent.length > 12) await sent[sent.length - 12]; // no more on their way than the network takes
        await new Promise((resolve) => { setTimeout(resolve, Math.max(0, EVERY - (performance.now() - began))); });
      } while (this.recording === own);
      await Promise.all(sent);
      say(`${counted(frames, "frame")} in one burst added to ${label}.`);
    });
    if (this.recording === own) this.stop();
  }

  stop() {
    if (this.recording) this.recording = 0;
    this.hold.classList.remove("on");
  }
}
