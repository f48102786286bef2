// @ts-check
/** Saves images with boxes, and results as JSON lines. */
import { drawScene } from "./drawing.js";
import { confident, jsonError, jsonLine, save } from "./results.js";

/** @typedef {import("./results.js").Lines} Lines */

/** Maximum number of pixels of a saved image; some phones cannot make larger ones. */
const SAVED_PIXELS = 16_700_000;

/**
 * Saves the photo or frame on the canvas with its boxes, in full size if possible.
 * @param {import("./app.js").Scene} scene
 * @param {import("./tracking.js").Tracked[]} faces
 */
export async function saveImage(scene, faces) {
  const { photo, width } = scene;
  const name = scene.name.replace(/\.[^.]*$/, "");
  /** @type {ImageBitmapOptions} */
  const decoding = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const image = photo ? await createImageBitmap(photo.file, decoding) : scene.image;
  const scale = Math.min(Math.sqrt(SAVED_PIXELS / (image.width * image.height)), 1);
  const target = document.createElement("canvas");
  target.width = Math.round(image.width * scale);
  target.height = Math.round(image.height * scale);
  const pixel = Math.max(target.width, target.height) / 900;
  drawScene(target, image, faces, { width, pixel: Math.max(pixel, 0.8) });
  if (photo) image.close();
  target.toBlob((blob) => blob && save(blob, `${name}-maskyolo.jpg`), "image/jpeg", 0.93);
}

/**
 * Saves the results of all files and cameras.
 * @param {import("./app.js").Item[]} items
 * @param {Lines[]} cameras
 * @param {number} conf minimum confidence in photos
 */
export function saveJson(items, cameras, conf) {
  /** @type {BlobPart[]} */
  const parts = [];
  for (const item of items) {
    if (item.problem) {
      parts.push(`${jsonError(item.name, item.problem.slice(item.name.length + 2))}\n`);
    } else if (item.answer) {
      const { width, height, detections } = item.answer;
      const frame = { source: item.name, frame: 0, time: 0, width, height };
      parts.push(`${jsonLine(frame, confident(detections, conf))}\n`);
    } else if (item.lines) {
      parts.push(item.lines.blob());
    }
  }
  parts.push(...cameras.map((lines) => lines.blob()));
  save(new Blob(parts, { type: "application/jsonl" }), "maskyolo.jsonl");
}
