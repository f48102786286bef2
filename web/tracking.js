// @ts-check
/**
 * Follows faces from frame to frame and votes on each class, so that labels do not flicker.
 *
 * A small tracker by overlap, for one camera or clip. The vote is that of
 * `maskyolo/runtime/tracking.py`; `maskyolo detect --track` follows faces with ByteTrack instead,
 * which also predicts their motion.
 */
import { CLASS_NAMES } from "./yolo.js";

/** @typedef {import("./yolo.js").Detection} Detection */
/** @typedef {Detection & {trackId: number | null}} Tracked */

/** Minimum confidence of a detection that continues a track. */
const LOW_CONF = 0.1;
/** Minimum confidence of a detection that begins a track. */
const START_CONF = 0.5;
/** Number of consecutive frames in which a face must be found to get a number. */
const START_FRAMES = 3;
/** Seconds without a detection after which a track has ended. */
const LOST = 2;
/** Seconds in which the weight of a vote falls to 1/e. */
const MEMORY = 0.5;
/** Maximum number of seconds that votes age from one frame to the next. */
const OLDEST_STEP = 0.2;
/** Fraction of the votes that another class needs to replace the current one. */
const MAJORITY = 0.6;
/** Minimum overlap of a detection and the track that it continues. */
const MIN_IOU = 0.2;

/** The class of a face over time; it only changes when another class has a clear majority. */
export class Vote {
  /** @type {number[]} */
  weights = CLASS_NAMES.map(() => 0);

  /**
   * @param {number} classId
   * @param {number} time in seconds
   */
  constructor(classId, time) {
    this.classId = classId;
    this.time = time;
  }

  /**
   * Counts a detection and returns the current class of the face.
   * @param {number} classId
   * @param {number} confidence
   * @param {number} time in seconds
   */
  add(classId, confidence, time) {
    const age = Math.min(Math.max(time - this.time, 0), OLDEST_STEP);
    this.weights = this.weights.map((weight) => weight * Math.exp(-age / MEMORY));
    this.weights[classId] += confidence;
    this.time = time;
    const best = this.weights.indexOf(Math.max(...this.weights));
    const sum = this.weights.reduce((total, weight) => total + weight, 0);
    if (this.weights[best] > MAJORITY * sum) this.classId = best;
    return this.classId;
  }
}

/**
 * @typedef {object} Track
 * @property {number | null} id null until the face was found in enough frames
 * @property {import("./yolo.js").Box} box
 * @property {Vote} vote
 * @property {number} seen number of frames with a detection
 * @property {number} last number of the last one of them
 */

export class Tracker {
  /** @type {Track[]} */
  #tracks = [];
  #count = 0;
  #frame = 0;

  /**
   * Returns the detections of the next frame that count, with tracks and voted classes.
   * @param {Detection[]} detections by descending confidence
   * @param {number} time of the frame in seconds
   * @param {number} conf minimum confidence of a detection without a track
   * @returns {Tracked[]}
   */
  update(detections, time, conf) {
    this.#frame += 1;
    this.#tracks = this.#tracks.filter(({ vote, id, last }) => {
      const age = time - vote.time;
      if (age < 0) return false; // the video was set back
      return last === this.#frame - 1 || (id !== null && age <= LOST);
    });
    const free = new Set(this.#tracks);
    /** @type {Tracked[]} */
    const result = [];
    for (const found of detections) {
      if (found.confidence <= LOW_CONF) continue;
      let track = closest(found, free);
      if (track) {
        free.delete(track);
      } else if (found.confidence >= Math.max(conf, START_CONF)) {
        const vote = new Vote(found.classId, time);
        track = { id: null, box: found.box, vote, seen: 0, last: 0 };
        this.#tracks.push(track);
      }
      if (track) {
        track.box = found.box;
        track.seen += 1;
        track.last = this.#frame;
        track.vote.add(found.classId, found.confidence, time);
        if (track.id === null && track.seen >= START_FRAMES) track.id = ++this.#count;
      }
      const trackId = track?.id ?? null;
      if (trackId !== null || found.confidence > conf) {
        const classId = trackId === null || !track ? found.classId : track.vote.classId;
        result.push({ ...found, classId, trackId });
      }
    }
    return result;
  }
}

/**
 * Returns the track that overlaps a detection most, if any does enough.
 * @param {Detection} found
 * @param {Set<Track>} tracks
 */
function closest(found, tracks) {
  /** @type {Track | undefined} */
  let best;
  let most = MIN_IOU;
  for (const track of tracks) {
    const overlap = iou(found.box, track.box);
    if (overlap > most) {
      most = overlap;
      best = track;
    }
  }
  return best;
}

/**
 * @param {import("./yolo.js").Box} a
 * @param {import("./yolo.js").Box} b
 */
function iou(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  /** @type {(box: import("./yolo.js").Box) => number} */
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return (width * height) / (area(a) + area(b) - width * height);
}
