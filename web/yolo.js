// @ts-check
/**
 * Before and after the network: the mirror of `maskyolo/detectors/yolo.py`.
 *
 * Pure functions. `tests/web/test_web_yolo.py` runs them next to the Python ones.
 */

/** Stride in pixels of YOLOv8's coarsest layer; the input's sides are multiples of it. */
export const STRIDE = 32;
/** Gray level of the letterbox's border, the same as in training. */
export const BORDER = 114;
/** Fixed-point scale of OpenCV's bilinear interpolation of 8-bit images. */
const WEIGHT = 2048;

/**
 * The class names by class id, in every output.
 * @type {readonly ["with_mask", "without_mask", "incorrect_mask"]}
 */
export const CLASS_NAMES = ["with_mask", "without_mask", "incorrect_mask"];

/**
 * @typedef {[number, number]} Shape (height, width) in pixels
 * @typedef {[number, number, number, number]} Box xyxy in pixels
 *
 * @typedef {object} Detection
 * @property {Box} box xyxy in pixels, clipped to the image
 * @property {number} classId index in CLASS_NAMES
 * @property {number} confidence from 0 to 1
 *
 * @typedef {object} Pixels an image that is read by rows, so that a large one is never copied whole
 * @property {number} width
 * @property {number} height
 * @property {(top: number, count: number) => Uint8ClampedArray | Uint8Array} rows RGBA of some rows
 *
 * @typedef {object} Placement where the image is in the network's input
 * @property {[number, number]} scales of x and y
 * @property {[number, number]} border (left, top) in pixels
 */

/**
 * Rounds as Python does: halves to the even neighbor.
 * @param {number} value
 */
export function roundHalfEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** @param {number} pixels */
function ceilToStride(pixels) {
  return Math.max(Math.ceil(pixels / STRIDE), 1) * STRIDE;
}

/**
 * Returns the (height, width) of the network's input for an image; both are multiples of 32.
 * @param {number} height
 * @param {number} width
 * @param {number} imgsz longer side of the input in pixels
 * @returns {Shape}
 */
export function networkShape(height, width, imgsz) {
  const scale = ceilToStride(imgsz) / Math.max(height, width);
  return [ceilToStride(roundHalfEven(height * scale)), ceilToStride(roundHalfEven(width * scale))];
}

/**
 * Returns the size that an image is scaled to, and its place in the network's input.
 * @param {number} height
 * @param {number} width
 * @param {Shape} shape
 * @returns {Placement & {inner: Shape}}
 */
export function placement(height, width, shape) {
  const scale = Math.min(shape[0] / height, shape[1] / width);
  const inner = [height, width].map((side) => Math.max(roundHalfEven(side * scale), 1));
  // Subtract 0.1 as Ultralytics does: if the border is odd, the smaller part comes first.
  const left = roundHalfEven((shape[1] - inner[1]) / 2 - 0.1);
  const top = roundHalfEven((shape[0] - inner[0]) / 2 - 0.1);
  return {
    inner: [inner[0], inner[1]],
    scales: [inner[1] / width, inner[0] / height],
    border: [left, top],
  };
}

/**
 * For each output position: the first of the two source positions, and the weight of the second.
 * @param {number} from
 * @param {number} to
 */
function samples(from, to) {
  const first = new Int32Array(to);
  const weight = new Int32Array(to);
  const scale = 1 / (to / from);
  for (let position = 0; position < to; position++) {
    const exact = Math.fround((position + 0.5) * scale - 0.5);
    const floor = Math.floor(exact);
    first[position] = Math.min(Math.max(floor, 0), from - 1);
    const inside = floor >= 0 && floor < from - 1;
    weight[position] = inside ? roundHalfEven(Math.fround(exact - floor) * WEIGHT) : 0;
  }
  return { first, weight };
}

/**
 * Scales an image bilinearly, as `cv2.resize` does, and centers it on gray.
 * @param {Pixels} image opaque
 * @param {Shape} shape (height, width) of the network's input
 * @param {Float32Array} [tensor] reused if given
 * @returns {Placement & {tensor: Float32Array}} RGB from 0 to 1, (3, height, width)
 */
export function letterbox(image, shape, tensor = new Float32Array(3 * shape[0] * shape[1])) {
  const place = placement(image.height, image.width, shape);
  const [height, width] = place.inner;
  const [left, top] = place.border;
  const area = shape[0] * shape[1];
  tensor.fill(BORDER / 255);
  const columns = samples(image.width, width);
  const lines = samples(image.height, height);
  const readRow = rowReader(image);
  /** @type {Map<number, Int32Array>} the two source rows in use, scaled horizontally */
  const scaled = new Map();
  /** @param {number} y */
  const scaledRow = (y) => {
    let row = scaled.get(y);
    if (row) return row;
    for (const old of scaled.keys()) if (old < y - 1) scaled.delete(old);
    row = new Int32Array(3 * width);
    const { data, start } = readRow(y);
    for (let x = 0, to = 0; x < width; x++, to += 3) {
      const at = start + 4 * columns.first[x];
      const second = columns.weight[x];
      const next = second ? at + 4 : at;
      for (let channel = 0; channel < 3; channel++) {
        row[to + channel] =
          data[at + channel] * (WEIGHT - second) + data[next + channel] * second;
      }
    }
    scaled.set(y, row);
    return row;
  };
  for (let y = 0; y < height; y++) {
    const second = lines.weight[y];
    const above = scaledRow(lines.first[y]);
    const below = second ? scaledRow(lines.first[y] + 1) : above;
    let to = (top + y) * shape[1] + left;
    for (let x = 0; x < 3 * width; x += 3, to++) {
      for (let channel = 0; channel < 3; channel++) {
        const value =
          (((WEIGHT - second) * (above[x + channel] >> 4)) >> 16) +
          ((second * (below[x + channel] >> 4)) >> 16);
        tensor[channel * area + to] = ((value + 2) >> 2) / 255;
      }
    }
  }
  return { tensor, scales: place.scales, border: place.border };
}

/** Pixels of an image that are read at a time: 16 MB as RGBA. */
const CHUNK = 1 << 22;

/** @param {Pixels} image */
function rowReader(image) {
  const count = Math.max(2, Math.floor(CHUNK / image.width));
  let first = 0;
  /** @type {Uint8ClampedArray | Uint8Array} */
  let data = new Uint8ClampedArray(0);
  /** @param {number} y */
  return (y) => {
    const stride = 4 * image.width;
    if (y < first || (y - first) * stride >= data.length) {
      first = y;
      data = image.rows(y, Math.min(count, image.height - y));
    }
    return { data, start: (y - first) * stride };
  };
}

/**
 * Returns a network's output with the scores of the reported classes only, in order.
 *
 * If several classes of the network stand for one, their scores are joined before NMS, so that a
 * face gets one box: 1 - (1 - a)(1 - b), the probability that at least one applies.
 * @param {Float32Array} output (4 + own classes, anchors)
 * @param {number} rows 4 + own classes
 * @param {readonly (readonly number[])[]} groups for each reported class, the network's classes
 * @returns {Float32Array} (4 + groups, anchors)
 */
export function selectClasses(output, rows, groups) {
  const isUsual = groups.length === rows - 4 && groups.every((own, id) => `${own}` === `${id}`);
  if (isUsual) return output;
  const anchors = output.length / rows;
  const selected = new Float32Array((4 + groups.length) * anchors);
  selected.set(output.subarray(0, 4 * anchors));
  for (const [id, group] of groups.entries()) {
    for (let anchor = 0; anchor < anchors; anchor++) {
      const scores = group.map((own) => output[(4 + own) * anchors + anchor]);
      const none = scores.reduce((product, score) => Math.fround(product * Math.fround(1 - score)), 1);
      selected[(4 + id) * anchors + anchor] = scores.length === 1 ? scores[0] : 1 - none;
    }
  }
  return selected;
}

/**
 * Converts a YOLOv8 head's output for one image to boxes, with class-agnostic NMS.
 * @param {Float32Array} output (4 + classes, anchors): cx, cy, w, h, then the score of each class
 * @param {number} rows 4 + classes
 * @param {object} [options]
 * @param {number} [options.conf] minimum score; a box gets the class with the highest score
 * @param {number} [options.iou] overlap above which the less confident of two boxes is dropped
 * @param {number} [options.maxDet] maximum number of boxes
 * @returns {{boxes: Box[], scores: number[], ids: number[]}} boxes in pixels of the input, by
 *   descending score; ids by the order of the scores
 */
export function postprocess(output, rows, { conf = 0.25, iou = 0.5, maxDet = 300 } = {}) {
  const anchors = output.length / rows;
  const threshold = Math.fround(conf);
  /** @type {{box: Box, rectangle: Box, score: number, id: number}[]} */
  const likely = [];
  for (let anchor = 0; anchor < anchors; anchor++) {
    let id = 0;
    let score = output[4 * anchors + anchor];
    for (let row = 5; row < rows; row++) {
      const other = output[row * anchors + anchor];
      if (other > score) {
        score = other;
        id = row - 4;
      }
    }
    if (!(score > threshold)) continue;
    const width = output[2 * anchors + anchor];
    const height = output[3 * anchors + anchor];
    const x = Math.fround(output[anchor] - width / 2);
    const y = Math.fround(output[anchors + anchor] - height / 2);
    likely.push({
      box: [x, y, Math.fround(x + width), Math.fround(y + height)],
      rectangle: [x, y, width, height],
      score,
      id,
    });
  }
  likely.sort((a, b) => b.score - a.score);
  /** @type {typeof likely} */
  const kept = [];
  const limit = Math.fround(iou);
  for (const candidate of likely) {
    if (kept.length === maxDet) break;
    if (kept.every((better) => overlap(candidate.rectangle, better.rectangle) <= limit)) {
      kept.push(candidate);
    }
  }
  return {
    boxes: kept.map(({ box }) => box),
    scores: kept.map(({ score }) => score),
    ids: kept.map(({ id }) => id),
  };
}

/**
 * Returns the IoU of two boxes (x, y, width, height), rounded as in OpenCV's NMS.
 * @param {Box} a
 * @param {Box} b
 */
function overlap(a, b) {
  const both = a[2] * a[3] + b[2] * b[3];
  if (both <= Number.EPSILON) return 1;
  const width = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  const shared = width > 0 && height > 0 ? width * height : 0;
  return Math.fround(1 - Math.fround(1 - shared / (both - shared)));
}

/**
 * Converts a box in the network's input to pixels of the image, clipped to it.
 * @param {Box} box
 * @param {Placement} place
 * @param {number} width of the image
 * @param {number} height of the image
 * @returns {Box}
 */
export function toImage(box, place, width, height) {
  /** @type {(value: number, axis: 0 | 1, side: number) => number} */
  const convert = (value, axis, side) =>
    Math.min(Math.max((value - place.border[axis]) / place.scales[axis], 0), side);
  return [
    convert(box[0], 0, width),
    convert(box[1], 1, height),
    convert(box[2], 0, width),
    convert(box[3], 1, height),
  ];
}
