// @ts-check
/** The page's elements, and what is written into them. No state. */
import { COLORS, LABELS, countClasses, countsInWords } from "./results.js";

/**
 * @typedef {import("./tracking.js").Tracked} Tracked
 * @typedef {import("./app.js").Item} Item
 */

/**
 * Returns an element of the page by its id.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @returns {Kind}
 */
export function $(id) {
  return /** @type {Kind} */ (document.getElementById(id));
}

/** @param {string} text */
export function showProblem(text) {
  $("problem").hidden = false;
  $("problem-text").textContent = text;
}

export function hideProblem() {
  $("problem").hidden = true;
}

/** @param {string} text read aloud by screen readers */
export function say(text) {
  const spoken = $("spoken");
  if (spoken.textContent !== text) spoken.textContent = text;
}

/** @param {boolean} active whether there is something to see */
export function setActive(active) {
  document.body.dataset.view = active ? "active" : "empty";
}

/** @param {number[]} counts by class id */
export function showCounts(counts) {
  for (const [id, count] of counts.entries()) $(`count-${id}`).textContent = String(count);
}

/**
 * Lists the faces as text.
 * @param {Tracked[]} detections
 */
export function showFaces(detections) {
  $("faces").hidden = !detections.length;
  const rows = detections.map(({ box, classId, confidence, trackId }, place) => {
    const row = document.createElement("tr");
    const cells = [
      trackId === null ? String(place + 1) : `#${trackId}`,
      LABELS[classId],
      confidence.toFixed(2),
      box.map((side) => Math.round(side)).join(", "),
    ];
    for (const text of cells) row.insertCell().textContent = text;
    row.cells[1].style.setProperty("--color", COLORS[classId]);
    return row;
  });
  $("face-rows").replaceChildren(...rows);
}

/**
 * Describes the canvas to those who cannot see it.
 * @param {string} name
 * @param {Tracked[]} detections
 */
export function describe(name, detections) {
  const words = countsInWords(countClasses(detections));
  $("canvas").setAttribute("aria-label", `${name}: ${words}`);
  return words;
}

/**
 * Shows how much of the detector is loaded.
 * @param {number} bytes
 * @param {number} total
 */
export function showProgress(bytes, total) {
  const share = Math.min(bytes / total, 1);
  $("loading-bar").setAttribute("value", share.toFixed(3));
  const [done, all] = [bytes, total].map((size) => (size / 1e6).toFixed(1));
  $("loading-text").textContent =
    share < 1 ? `Loading the detector: ${done} of ${all} MB` : "Starting the detector …";
}

/**
 * Builds or updates the button of a file.
 * @param {Item} item
 * @param {boolean} current
 * @param {number[] | null} counts by class id, if they are known
 */
export function showItem(item, current, counts) {
  if (!item.button) {
    item.button = document.createElement("button");
    const entry = document.createElement("li");
    entry.append(item.button);
    $("strip").append(entry);
  }
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = item.name;
  const sum = document.createElement("span");
  sum.className = "sum";
  if (item.problem) {
    sum.classList.add("bad");
    sum.textContent = "not read";
  } else if (counts) {
    for (const [id, count] of counts.entries()) {
      if (id === 2 && !count) continue;
      const number = document.createElement("b");
      number.textContent = `${["✓", "✕", "!"][id]} ${count}`;
      sum.append(number);
    }
  } else {
    sum.textContent = item.kind === "video" ? "video" : "…";
  }
  const none = document.createElement("span");
  none.className = "none";
  none.textContent = item.problem ? "?" : item.kind === "video" ? "▶" : "";
  none.setAttribute("aria-hidden", "true");
  item.button.replaceChildren(item.thumbnail ?? none, name, sum);
  const state = item.problem || (counts ? countsInWords(counts) : item.kind);
  item.button.setAttribute("aria-label", `${item.name}: ${state}`);
  item.button.setAttribute("aria-current", String(current));
}

/**
 * Returns a small copy of an image.
 * @param {ImageBitmap} image
 */
export function thumbnailOf(image) {
  const canvas = document.createElement("canvas");
  canvas.width = 184;
  canvas.height = 138;
  const context = canvas.getContext("2d");
  const scale = Math.max(canvas.width / image.width, canvas.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  const [left, top] = [(canvas.width - width) / 2, (canvas.height - height) / 2];
  context?.drawImage(image, left, top, width, height);
  return canvas;
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.floor(seconds || 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/**
 * Fills a list of choices.
 * @param {HTMLSelectElement} select
 * @param {{value: string, text: string}[]} choices
 * @param {string} value
 */
export function fillSelect(select, choices, value) {
  select.replaceChildren(...choices.map(({ value: each, text }) => new Option(text, each)));
  select.value = value;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}
