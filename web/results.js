// @ts-check
/** Detections as counts and as the JSON lines of `maskyolo detect --save-json`. */
import { CLASS_NAMES } from "./yolo.js";

/**
 * @typedef {import("./yolo.js").Detection} Detection
 * @typedef {import("./tracking.js").Tracked} Tracked
 */

/** Colors of the classes in `maskyolo detect`, dark enough for white text. */
export const COLORS = ["#008c3a", "#d0021b", "#a65f00"];
/** The classes in words, as labels and counts. */
export const LABELS = ["with mask", "without mask", "worn incorrectly"];

/**
 * Returns the detections above a confidence, without tracks.
 * @param {Detection[]} detections
 * @param {number} conf
 * @returns {Tracked[]}
 */
export function confident(detections, conf) {
  return detections
    .filter(({ confidence }) => confidence > Math.fround(conf))
    .slice(0, 300)
    .map((found) => ({ ...found, trackId: null }));
}

/**
 * Returns the number of detections of each class.
 * @param {Detection[]} detections
 */
export function countClasses(detections) {
  return CLASS_NAMES.map((_, id) => detections.filter(({ classId }) => classId === id).length);
}

/**
 * Returns counts in words, such as "2 with mask, 1 without mask".
 * @param {number[]} counts by class id
 */
export function countsInWords(counts) {
  const shown = counts.length > 2 && counts[2] ? LABELS : LABELS.slice(0, 2);
  return shown.map((label, id) => `${counts[id]} ${label}`).join(", ");
}

/**
 * @param {number} value
 * @param {number} digits
 */
const round = (value, digits) => Number(value.toFixed(digits));

/**
 * Returns the line of JSON of an image or frame.
 * @param {{source: string, frame: number, time: number, width: number, height: number}} frame
 * @param {Tracked[]} detections
 */
export function jsonLine({ source, frame, time, width, height }, detections) {
  return JSON.stringify({
    source,
    frame,
    time: round(time, 6),
    width,
    height,
    detections: detections.map(({ box, classId, confidence, trackId }) => ({
      box: box.map((side) => round(side, 2)),
      class: CLASS_NAMES[classId],
      class_id: classId,
      confidence: round(confidence, 4),
      track_id: trackId,
    })),
  });
}

/**
 * Returns the line of JSON of a file that could not be read.
 * @param {string} source
 * @param {string} error
 */
export function jsonError(source, error) {
  return JSON.stringify({ source, frame: 0, error });
}

/** Lines of text that may grow for hours: older ones are kept as Blobs, outside the page's heap. */
export class Lines {
  /** @type {Blob[]} */
  #blobs = [];
  /** @type {string[]} */
  #recent = [];
  length = 0;

  /** @param {string} line */
  add(line) {
    this.#recent.push(line);
    this.length += 1;
    if (this.#recent.length >= 200) {
      this.#blobs.push(new Blob([`${this.#recent.join("\n")}\n`]));
      this.#recent = [];
      if (this.#blobs.length >= 100) this.#blobs = [new Blob(this.#blobs)];
    }
  }

  /** Returns everything so far. */
  blob() {
    const rest = this.#recent.map((line) => `${line}\n`).join("");
    return new Blob([...this.#blobs, rest], { type: "application/jsonl" });
  }
}

/**
 * Saves a Blob as a download.
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
