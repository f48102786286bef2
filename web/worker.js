// @ts-check
/**
 * The detector: decodes images, runs the network, and answers with detections in pixels.
 *
 * It runs in a worker so that the page never freezes. `detector.js` is its other end.
 */
import { letterbox, networkShape, postprocess, selectClasses, toImage } from "./yolo.js";

/**
 * @typedef {import("./yolo.js").Detection} Detection
 * @typedef {import("./yolo.js").Shape} Shape
 *
 * @typedef {object} Model the contents of model.json
 * @property {string} name
 * @property {string[]} classes the network's class names, in its own order
 * @property {number[][]} two for each of two reported classes, the numbers of the network's
 * @property {number[][] | null} three likewise, with masks worn incorrectly as a third class
 * @property {number} imgsz inference size in pixels (longer side) that it was trained at
 * @property {Shape | null} shape the only input size that it accepts, if there is only one
 * @property {string} sha256
 * @property {number} bytes
 * @property {string} license
 * @property {string} source where its source code is
 * @property {string} version of maskyolo
 * @property {number} download bytes of model and runtime together
 *
 * @typedef {object} Answer
 * @property {number} width of the image
 * @property {number} height of the image
 * @property {Detection[]} detections by descending confidence
 * @property {number} ms from the decoded image to the detections
 * @property {ImageBitmap} [shown] the image, at most `shownSide` pixels large
 */

const scope = /** @type {any} */ (self);
const runtime = new URL("./vendor/onnxruntime-web/", import.meta.url);

/** Detections below this are never shown; the page's slider and the tracker choose above it. */
const LOWEST_CONF = 0.05;
const MAX_DET = 1000;
/** Images with more pixels are refused, as by `maskyolo detect`. */
const MAX_PIXELS = 178_956_970;

/** @type {any} */
let ort;
/** @type {any} */
let session;
/** @type {Model} */
let model;
/** @type {OffscreenCanvas | undefined} */
let canvas;
/** @type {Float32Array | undefined} */
let tensor;

/**
 * Downloads a file and reports how much of it has arrived.
 * @param {URL | string} url
 * @param {(bytes: number) => void} onBytes
 */
async function download(url, onBytes) {
  const answer = await fetch(url);
  if (!answer.ok || !answer.body) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  const reader = answer.body.getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    onBytes(size);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Loads the model and runs it once.
 * @param {{model: Model, threads: number}} settings
 */
async function load(settings) {
  model = settings.model;
  const loaded = [0, 0];
  /** @type {(which: number) => (bytes: number) => void} */
  const progress = (which) => (bytes) => {
    loaded[which] = bytes;
    scope.postMessage({ type: "progress", bytes: loaded[0] + loaded[1] });
  };
  const [library, wasm, weights] = await Promise.all([
    import(new URL("ort.wasm.min.mjs", runtime).href),
    download(new URL("ort-wasm-simd-threaded.wasm", runtime), progress(0)),
    download(new URL("./model.onnx", import.meta.url), progress(1)),
  ]);
  ort = library;
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = settings.threads;
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.mjs", runtime).href };
  session = await ort.InferenceSession.create(weights, { executionProviders: ["wasm"] });
  const shape = model.shape ?? [64, 64];
  const output = await run(new Float32Array(3 * shape[0] * shape[1]), /** @type {Shape} */ (shape));
  if (output.dims.length !== 3 || output.dims[1] !== 4 + model.classes.length) {
    const rows = 4 + model.classes.length;
    throw new Error(`the model's output is [${output.dims}], not [1, ${rows}, anchors]`);
  }
}

/**
 * @param {Float32Array} input RGB from 0 to 1, (3, height, width)
 * @param {Shape} shape
 */
async function run(input, shape) {
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, [1, 3, ...shape]) };
  return (await session.run(feeds))[session.outputNames[0]];
}

/**
 * Returns the pixels of an image, row by row, on white where it is transparent.
 * @param {ImageBitmap} image
 * @returns {import("./yolo.js").Pixels}
 */
function pixelsOf(image) {
  return {
    width: image.width,
    height: image.height,
    rows(top, count) {
      if (canvas?.width !== image.width || canvas.height < count) {
        canvas = new OffscreenCanvas(image.width, count);
      }
      const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
      if (!context) throw new Error("not enough memory for an image of this size");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, image.width, count);
      context.drawImage(image, 0, -top);
      return context.getImageData(0, 0, image.width, count).data;
    },
  };
}

/**
 * Decodes an image file.
 * @param {Blob} file
 */
async function decode(file) {
  if (!file.size) throw new Error("the file is empty");
  try {
    return await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "premultiply",
    });
  } catch {
    throw new Error("not an image that this browser can decode, or damaged");
  }
}

/**
 * Detects in one image.
 * @param {{image: Blob | ImageBitmap, imgsz: number, groups: number[][], shownSide: number}} job
 * @returns {Promise<Answer>}
 */
async function detect({ image, imgsz, groups, shownSide }) {
  const bitmap = image instanceof Blob ? await decode(image) : image;
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    bitmap.close();
    throw new Error(`more than ${Math.floor(MAX_PIXELS / 1e6)} megapixels; scale it down first`);
  }
  const start = performance.now();
  const shape = model.shape ?? networkShape(height, width, imgsz);
  if (tensor?.length !== 3 * shape[0] * shape[1]) {
    tensor = new Float32Array(3 * shape[0] * shape[1]);
  }
  const place = letterbox(pixelsOf(bitmap), shape, tensor);
  const output = await run(tensor, shape);
  const scores = selectClasses(output.data, 4 + model.classes.length, groups);
  const found = postprocess(scores, 4 + groups.length, { conf: LOWEST_CONF, maxDet: MAX_DET });
  output.dispose();
  const detections = found.boxes.map((box, number) => ({
    box: toImage(box, place, width, height),
    classId: found.ids[number],
    confidence: found.scores[number],
  }));
  const ms = performance.now() - start;
  return { width, height, detections, ms, shown: await shrink(bitmap, shownSide) };
}

/**
 * Returns an image for the page to show, and frees the larger one.
 * @param {ImageBitmap} image
 * @param {number} side maximum length in pixels
 */
async function shrink(image, side) {
  const scale = side / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const small = await createImageBitmap(image, {
    resizeWidth: Math.max(Math.round(image.width * scale), 1),
    resizeHeight: Math.max(Math.round(image.height * scale), 1),
    resizeQuality: "medium",
  });
  image.close();
  return small;
}

scope.onmessage = async (/** @type {MessageEvent} */ { data }) => {
  try {
    if (data.type === "load") {
      await load(data);
      scope.postMessage({ type: "ready" });
    } else {
      const answer = await detect(data);
      scope.postMessage({ type: "answer", id: data.id, answer }, [answer.shown]);
    }
  } catch (error) {
    const reason = String(/** @type {any} */ (error)?.message ?? error).split("\n")[0];
    scope.postMessage({ type: "error", id: data.id, reason });
  }
};
