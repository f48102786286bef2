// @ts-check
/** The page: connects files, cameras and settings with the detector, and shows what it finds. */
import { FrameLoop, SIZES, cameraProblem, chooseSize, playbackRate } from "./capture.js";
import { listCameras, openCamera } from "./capture.js";
import { Detector } from "./detector.js";
import { drawScene } from "./drawing.js";
import { keepOffline } from "./offline.js";
import { $, describe, fillSelect, hideProblem, say, setActive, showCounts } from "./page.js";
import { showFaces, showItem, showProblem, showProgress, thumbnailOf } from "./page.js";
import { listenToPlayer } from "./player.js";
import { watchRequests } from "./requests.js";
import { Lines, confident, countClasses, jsonLine } from "./results.js";
import { saveImage, saveJson } from "./saving.js";
import { Tracker } from "./tracking.js";

/**
 * @typedef {import("./worker.js").Answer & {shown: ImageBitmap}} Answer
 * @typedef {import("./tracking.js").Tracked} Tracked
 *
 * @typedef {object} Item a file that was opened
 * @property {File} file
 * @property {string} name
 * @property {"photo" | "video"} kind
 * @property {boolean} waiting for the detector
 * @property {string} problem why it cannot be read, or empty
 * @property {Omit<Answer, "shown"> | null} answer of a photo
 * @property {Lines | null} lines of JSON of a video
 * @property {HTMLCanvasElement | null} thumbnail
 * @property {HTMLButtonElement | null} button
 *
 * @typedef {object} Scene what is on the canvas
 * @property {ImageBitmap} image
 * @property {number} width of the image that the boxes are for
 * @property {boolean} mirrored
 * @property {string} name
 * @property {Item | null} photo that it comes from, if it is one
 *
 * @typedef {object} Stream a camera or video that is being detected in
 * @property {string} name
 * @property {MediaStream | null} media of a camera
 * @property {Item | null} item of a video
 * @property {boolean} mirrored
 * @property {FrameLoop} loop
 * @property {Tracker} tracker
 * @property {Lines} lines
 * @property {number[]} times milliseconds per frame, of the last frames
 * @property {number} size chosen for it
 * @property {number} spoken when the counts were read aloud last
 */

/** Maximum length in pixels of the image on the page. */
const SHOWN_SIDE = 1920;
const detector = new Detector();
/** @type {import("./worker.js").Model} */
let model;
let isReady = false;
/** @type {Item[]} */
const items = [];
/** @type {Item | null} */
let selected = null;
/** @type {Stream | null} */
let stream = null;
/** @type {Lines[]} of cameras that were stopped */
const finished = [];
/** @type {Scene | null} */
let scene = null;
/** @type {Tracked[]} */
let drawn = [];

const canvas = /** @type {HTMLCanvasElement} */ ($("canvas"));
const video = /** @type {HTMLVideoElement} */ ($("video"));
const confInput = /** @type {HTMLInputElement} */ ($("conf"));
const sizeSelect = /** @type {HTMLSelectElement} */ ($("size"));
const cameraSelect = /** @type {HTMLSelectElement} */ ($("camera"));
const incorrectInput = /** @type {HTMLInputElement} */ ($("incorrect"));
const filesInput = /** @type {HTMLInputElement} */ ($("files"));

const conf = () => Number(confInput.value);
const groups = () => (incorrectInput.checked && model.three) || model.two;
const photoSize = () => (sizeSelect.value === "auto" ? model.imgsz : Number(sizeSelect.value));

/* What is shown */

/** Draws the current image with its detections. */
function draw() {
  if (!scene) return;
  const { image, width, mirrored, name } = scene;
  const room = canvas.parentElement?.clientWidth ?? 0;
  const scale = Math.min(room / image.width, (window.innerHeight * 0.64) / image.height);
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [cssWidth, cssHeight] = [image.width * scale, image.height * scale].map(Math.round);
  if (canvas.width !== cssWidth * ratio || canvas.height !== cssHeight * ratio) {
    canvas.width = cssWidth * ratio;
    canvas.height = cssHeight * ratio;
    canvas.style.width = `${cssWidth}px`;
  }
  drawScene(canvas, image, drawn, { width, pixel: ratio, mirrored });
  showCounts(countClasses(drawn));
  showFaces(drawn);
  describe(name, drawn);
}

/**
 * Shows an image, and frees the one before.
 * @param {Answer} answer
 * @param {Tracked[]} detections
 * @param {{name: string, photo?: Item, mirrored?: boolean}} source
 */
function show(answer, detections, { name, photo = undefined, mirrored = false }) {
  if (scene && scene.image !== answer.shown) scene.image.close();
  scene = { image: answer.shown, width: answer.width, mirrored, name, photo: photo ?? null };
  drawn = detections;
  setActive(true);
  $("save-image").removeAttribute("disabled");
  $("save-json").removeAttribute("disabled");
  draw();
}

/** Shows the buttons of all files. */
function showStrip() {
  $("strip-box").hidden = !items.length;
  for (const item of items) {
    const counts = item.answer && countClasses(confident(item.answer.detections, conf()));
    showItem(item, item === selected, counts);
  }
}

/**
 * @param {number} ms per image
 * @param {number} [images] so far
 */
function showSpeed(ms, images) {
  const threads = `${detector.threads} ${detector.threads === 1 ? "thread" : "threads"}`;
  const total = images ? `, ${images} images` : "";
  $("speed").textContent = `${Math.round(ms)} ms per image, ${threads}${total}`;
}

/* Photos */

/** @param {FileList | File[]} files */
function open(files) {
  hideProblem();
  /** @type {Item[]} */
  const added = Array.from(files, (file) => ({
    file,
    name: file.name || "pasted image",
    kind: /^video\//.test(file.type) || /\.(mp4|m4v|mov|webm|mkv|avi)$/i.test(file.name)
      ? "video"
      : "photo",
    waiting: true,
    problem: "",
    answer: null,
    lines: null,
    thumbnail: null,
    button: null,
  }));
  if (!added.length) return;
  items.push(...added);
  for (const item of added) {
    showItem(item, false, null);
    item.button?.addEventListener("click", () => void select(item));
  }
  void select(added[0]);
}

/** @param {Item} item */
async function select(item) {
  await stopStream();
  selected = item;
  setActive(true);
  showStrip();
  if (item.kind === "video") {
    if (isReady) await playVideo(item);
    return;
  }
  item.waiting = true;
  void detectPhotos();
}

let isDetecting = false;

/** Detects in all photos that wait, the selected one first. */
async function detectPhotos() {
  if (!isReady || isDetecting) return;
  isDetecting = true;
  for (;;) {
    const waiting = items.filter((item) => item.waiting && item.kind === "photo");
    if (!waiting.length) break;
    const item = waiting.find((each) => each === selected) ?? waiting[0];
    item.waiting = false;
    $("busy").hidden = Boolean(stream);
    await detectPhoto(item);
    showStrip();
  }
  $("busy").hidden = true;
  isDetecting = false;
}

/** @param {Item} item */
async function detectPhoto(item) {
  const imgsz = photoSize();
  try {
    const answer = await detector.detect(item.file, {
      imgsz,
      groups: groups(),
      shownSide: item === selected ? SHOWN_SIDE : 320,
    });
    const { shown, ...rest } = answer;
    item.answer = rest;
    item.thumbnail ??= thumbnailOf(shown);
    if (!items.includes(item) || item !== selected || stream) {
      shown.close();
      return;
    }
    const found = confident(answer.detections, conf());
    show(answer, found, { name: item.name, photo: item });
    $("caption").textContent = `${item.name}, ${answer.width} x ${answer.height} pixels`;
    showSpeed(answer.ms);
    say(`${item.name}: ${describe(item.name, found)}`);
  } catch (error) {
    item.problem = reasonFor(item.name, /** @type {Error} */ (error).message);
    $("save-json").removeAttribute("disabled");
    showProblem(item.problem);
    if (item === selected) showNothing(item.problem);
  }
}

/**
 * @param {string} name
 * @param {string} reason
 */
function reasonFor(name, reason) {
  const heic = /\.hei[cf]$/i.test(name) ? "this browser cannot decode HEIC; save it as JPEG" : "";
  return `${name}: ${heic || reason}`;
}

/** @param {string} text shown instead of an image */
function showNothing(text) {
  scene?.image.close();
  scene = null;
  drawn = [];
  canvas.width = 1;
  canvas.height = 1;
  canvas.setAttribute("aria-label", text || "No image");
  showCounts([0, 0, 0]);
  showFaces([]);
  $("caption").textContent = text;
  $("save-image").setAttribute("disabled", "");
}

/* Cameras and videos */

/**
 * Starts detecting in what the video element plays.
 * @param {{name: string, media: MediaStream | null, item: Item | null, mirrored: boolean}} source
 */
function startStream(source) {
  const lines = new Lines();
  /** @type {Stream} */
  const started = {
    ...source,
    loop: new FrameLoop(video, Boolean(source.media), (frame) => detectFrame(started, frame)),
    tracker: new Tracker(),
    lines,
    times: [],
    size: 0,
    spoken: 0,
  };
  if (source.item) source.item.lines = lines;
  else finished.push(lines);
  stream = started;
  setActive(true);
  showStrip();
}

/**
 * @param {Stream} current
 * @param {import("./capture.js").Frame} frame
 */
async function detectFrame(current, { bitmap, index, time }) {
  const chosen = sizeSelect.value === "auto" ? current.size || model.imgsz : photoSize();
  /** @type {Answer} */
  let answer;
  try {
    answer = await detector.detect(bitmap, {
      imgsz: chosen,
      groups: groups(),
      shownSide: SHOWN_SIDE,
    });
  } catch (error) {
    showProblem(`${current.name}: ${/** @type {Error} */ (error).message}`);
    await stopStream();
    return;
  }
  if (stream !== current) {
    answer.shown.close();
    return;
  }
  const found = current.tracker.update(answer.detections, time, conf());
  const { width, height } = answer;
  current.lines.add(jsonLine({ source: current.name, frame: index, time, width, height }, found));
  show(answer, found, current);
  if (index > 0) current.times = [...current.times.slice(-9), answer.ms]; // the first one prepares
  measure(current);
  const total = current.times.reduce((sum, ms) => sum + ms, 0);
  const ms = total / current.times.length;
  if (total) showSpeed(ms, current.lines.length);
  if (total && current.item) video.playbackRate = playbackRate(ms);
  if (current.item && !current.item.thumbnail) {
    current.item.thumbnail = thumbnailOf(answer.shown);
    showStrip();
  }
  if (performance.now() - current.spoken > 5000) {
    current.spoken = performance.now();
    say(describe(current.name, found));
  }
}

/**
 * Chooses the inference size of a stream by the time of three frames.
 * @param {Stream} current
 */
function measure(current) {
  if (current.size || model.shape || sizeSelect.value !== "auto" || current.times.length < 3) return;
  current.size = chooseSize(current.times, model.imgsz);
  showSizes(current.size);
  current.times = [];
}

/** @param {string} choice a device id, "user" or "environment" */
async function startCamera(choice) {
  hideProblem();
  await stopStream();
  selected = null;
  showStrip();
  setCameraButton(true);
  try {
    const media = await openCamera(choice);
    const track = media.getVideoTracks()[0];
    const settings = track.getSettings();
    track.addEventListener("ended", () => {
      if (stream?.media !== media) return;
      showProblem("The camera was disconnected.");
      void stopStream();
    });
    video.srcObject = media;
    await video.play();
    const cameras = await listCameras();
    $("camera-setting").hidden = cameras.length < 2;
    const choices = cameras.map(({ id, name }) => ({ value: id, text: name }));
    fillSelect(cameraSelect, choices, settings.deviceId ?? "");
    $("live-badge").hidden = false;
    $("caption").textContent = track.label || "Camera";
    startStream({ name: "camera", media, item: null, mirrored: settings.facingMode === "user" });
  } catch (error) {
    setCameraButton(false);
    showProblem(/** @type {Error} */ (error).message);
  }
}

/** @param {Item} item */
async function playVideo(item) {
  hideProblem();
  showNothing("");
  $("caption").textContent = item.name;
  video.srcObject = null;
  video.src = URL.createObjectURL(item.file);
  try {
    await video.play();
    video.playbackRate = 0.2; // until it is known how long a frame takes
    $("player").hidden = false;
    startStream({ name: item.name, media: null, item, mirrored: false });
  } catch {
    if (selected !== item) return;
    item.problem = `${item.name}: not a video that this browser can play, or damaged`;
    item.waiting = false;
    showProblem(item.problem);
    showNothing(item.problem);
    showStrip();
  }
}

/** Ends the camera or video, if there is one; its last image stays. */
async function stopStream() {
  const ended = stream;
  stream = null;
  ended?.loop.stop();
  for (const track of ended?.media?.getTracks() ?? []) track.stop();
  video.pause();
  video.srcObject = null;
  if (video.src) {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
  $("live-badge").hidden = true;
  $("player").hidden = true;
  $("camera-setting").hidden = true;
  setCameraButton(false);
  if (model) showSizes();
}

/** @param {boolean} on */
function setCameraButton(on) {
  const button = $("camera-button");
  button.classList.toggle("recording", on);
  const text = button.querySelector("span");
  if (text) text.textContent = on ? "Stop" : "Camera";
  button.setAttribute("aria-label", on ? "Stop the camera" : "Use the camera");
  button.dataset.do = on ? "stop" : "camera";
}

/* Settings */

/** @param {number} [measured] the size that was chosen by measuring */
function showSizes(measured) {
  if (model.shape) {
    const text = `${model.shape[1]} x ${model.shape[0]} (fixed)`;
    fillSelect(sizeSelect, [{ value: "auto", text }], "auto");
    sizeSelect.disabled = true;
    return;
  }
  const sizes = [...new Set([...SIZES, model.imgsz])].sort((a, b) => a - b);
  const automatic = measured ?? model.imgsz;
  fillSelect(
    sizeSelect,
    [
      { value: "auto", text: `Automatic: ${automatic}` },
      ...sizes.map((size) => ({ value: String(size), text: `${size} pixels` })),
    ],
    sizeSelect.value || "auto",
  );
}

function onConf() {
  $("conf-value").textContent = conf().toFixed(2);
  if (scene?.photo?.answer) {
    drawn = confident(scene.photo.answer.detections, conf());
    draw();
  }
  showStrip();
}

/** Detects again in all photos, with other settings. */
function detectAgain() {
  for (const item of items) item.waiting = item.kind === "photo" && !item.problem;
  if (stream) stream.times = [];
  else void detectPhotos();
}

async function clear() {
  await stopStream();
  for (const item of items.splice(0)) item.button?.parentElement?.remove();
  finished.length = 0;
  selected = null;
  showNothing("");
  hideProblem();
  showStrip();
  $("save-json").setAttribute("disabled", "");
  setActive(false);
  $("work").focus();
}

/* Wiring */

function listen() {
  document.addEventListener("click", ({ target }) => {
    const button = /** @type {HTMLElement} */ (target).closest?.("button");
    const action = button?.dataset.do;
    if (action === "open") filesInput.click();
    if (action === "camera") void startCamera("user");
    if (action === "stop") void stopStream().then(detectPhotos);
    if (button?.dataset.example) void openExample(button.dataset.example);
  });
  filesInput.addEventListener("change", () => {
    open(filesInput.files ?? []);
    filesInput.value = "";
  });
  document.addEventListener("paste", ({ clipboardData }) => open(clipboardData?.files ?? []));
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dragging", name === "dragover");
      if (name === "drop") open(/** @type {DragEvent} */ (event).dataTransfer?.files ?? []);
    });
  }
  confInput.addEventListener("input", onConf);
  sizeSelect.addEventListener("change", detectAgain);
  incorrectInput.addEventListener("change", () => {
    $("tile-2").hidden = !incorrectInput.checked;
    detectAgain();
  });
  cameraSelect.addEventListener("change", () => void startCamera(cameraSelect.value));
  $("save-image").addEventListener("click", () => scene && void saveImage(scene, drawn));
  $("save-json").addEventListener("click", () => saveJson(items, finished, conf()));
  $("clear").addEventListener("click", () => void clear());
  $("problem-close").addEventListener("click", hideProblem);
  window.addEventListener("resize", draw);
  window.addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    $("install").hidden = false;
    $("install").onclick = () => /** @type {any} */ (event).prompt();
  });
  listenToPlayer(video);
}

/** @param {string} path */
async function openExample(path) {
  const answer = await fetch(path);
  const name = path.split("/").pop() ?? path;
  open([new File([await answer.blob()], name, { type: "image/webp" })]);
}

async function loadModel() {
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Error(`model.json: ${answer.status} ${answer.statusText}`);
  model = await answer.json();
  $("about").textContent =
    `maskyolo ${model.version}, model ${model.name}, SHA-256 ${model.sha256.slice(0, 12)}…`;
  $("about").title = model.sha256;
  $("license").textContent = model.license;
  /** @type {HTMLAnchorElement} */ ($("source")).href = model.source;
  $("incorrect-setting").hidden = !model.three;
  showSizes();
  await detector.load(model, (bytes) => showProgress(bytes, model.download));
  isReady = true;
  $("loading").hidden = true;
  const isolation = self.crossOriginIsolated ? "" : " (more after the second visit over https)";
  $("engine").textContent =
    `${model.name} on ${detector.threads} ` +
    `${detector.threads === 1 ? `thread${isolation}` : "threads"}`;
  if (selected) void select(selected);
  void detectPhotos();
}

async function start() {
  listen();
  watchRequests();
  setCameraButton(false);
  if (cameraProblem()) {
    for (const button of document.querySelectorAll('[data-do="camera"]')) {
      button.setAttribute("title", cameraProblem());
    }
  }
  void keepOffline({
    onState: (text) => {
      $("offline").textContent = text;
    },
    inUse: () => Boolean(items.length || stream),
    onUpdate: (takeOver) => {
      $("update").hidden = false;
      $("update-now").onclick = takeOver;
    },
  });
  try {
    await loadModel();
  } catch (error) {
    $("loading").hidden = true;
    $("engine").textContent = "Not loaded";
    showProblem(`The detector cannot start: ${/** @type {Error} */ (error).message}`);
  }
}

void start();
