// @ts-check
/** Draws boxes and labels in the colors of `maskyolo detect`. */
import { COLORS, LABELS } from "./results.js";

/** @typedef {import("./tracking.js").Tracked} Tracked */

/**
 * Draws an image and its detections over the whole canvas.
 * @param {HTMLCanvasElement} canvas of the size to draw at
 * @param {ImageBitmap} image
 * @param {Tracked[]} detections boxes in pixels of an image of `width`
 * @param {object} options
 * @param {number} options.width of the image that the boxes are for
 * @param {number} options.pixel canvas pixels per pixel of text and lines
 * @param {boolean} [options.mirrored] as in a mirror, for a camera that faces its user
 */
export function drawScene(canvas, image, detections, { width, pixel, mirrored = false }) {
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) return;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.save();
  if (mirrored) {
    context.translate(canvas.width, 0);
    context.scale(-1, 1);
  }
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  context.restore();
  const scale = canvas.width / width;
  const placed = detections.map((found) => {
    const [left, top, right, bottom] = found.box.map((side) => side * scale);
    const [start, end] = mirrored ? [canvas.width - right, canvas.width - left] : [left, right];
    return { ...found, box: [start, top, end, bottom] };
  });
  for (const found of placed) drawBox(context, found, pixel);
  const taken = placed.map(({ box }) => box);
  for (const found of placed) drawLabel(context, found, pixel, taken);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{box: number[], classId: number}} found
 * @param {number} pixel one pixel of the screen
 */
function drawBox(context, { box, classId }, pixel) {
  const [left, top, right, bottom] = box;
  const side = Math.min(right - left, bottom - top);
  const line = Math.min(Math.max(side / 24, 1.5 * pixel), 3 * pixel);
  context.beginPath();
  context.roundRect(left, top, right - left, bottom - top, Math.min(6 * pixel, side / 5));
  context.lineWidth = line + 1.5 * pixel;
  context.strokeStyle = "rgb(255 255 255 / 55%)";
  context.stroke();
  context.lineWidth = line;
  context.strokeStyle = COLORS[classId];
  context.stroke();
}

/**
 * Draws a label beside its box, as long as there is room for it between faces and other labels.
 * @param {CanvasRenderingContext2D} context
 * @param {{box: number[], classId: number, confidence: number, trackId: number | null}} found
 * @param {number} pixel one pixel of text and lines
 * @param {number[][]} taken boxes of all faces and of the labels so far, extended by this one
 */
function drawLabel(context, { box, classId, confidence, trackId }, pixel, taken) {
  const size = 12 * pixel;
  const pad = 5 * pixel;
  const gap = 2 * pixel;
  const height = size + 1.2 * pad;
  const [left, top, right, bottom] = box;
  const { width: wide, height: tall } = context.canvas;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const number = trackId === null ? "" : `#${trackId} `;
  const value = confidence.toFixed(2);
  const texts = [`${number}${LABELS[classId]} ${value}`, `${number}${value}`, value];
  /** @type {{text: string, place: number[]}[]} from the best to the worst */
  const choices = texts.flatMap((text) => {
    const width = context.measureText(text).width + 2 * pad;
    const starts = [left - pixel, right - width + pixel];
    const places = [top - height - gap, bottom + gap].flatMap((y) =>
      starts.map((start) => {
        const x = Math.min(Math.max(start, 0), Math.max(wide - width, 0));
        return { text, place: [x, y, x + width, y + height] };
      }),
    );
    return places.filter(({ place }) => place[1] >= 0 && place[3] <= tall);
  });
  /** @type {(place: number[]) => boolean} */
  const isFree = (place) => taken.every((other) => !overlaps(place, other));
  const inside = [left, top + gap, left + context.measureText(value).width + 2 * pad, top + height];
  const chosen = choices.find(({ place }) => isFree(place)) ??
    choices.find(({ text }) => text === value) ?? { text: value, place: inside };
  taken.push(chosen.place);
  const [x, y, end, base] = chosen.place;
  context.fillStyle = COLORS[classId];
  context.beginPath();
  context.roundRect(x, y, end - x, base - y, 4 * pixel);
  context.fill();
  context.fillStyle = "#fff";
  context.fillText(chosen.text, x + pad, (y + base) / 2 + 0.5 * pixel);
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function overlaps(a, b) {
  return a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
}
