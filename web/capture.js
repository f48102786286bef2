// @ts-check
/** Cameras and clips: a stream of frames, each taken when the one before is finished. */

/** @typedef {{bitmap: ImageBitmap, index: number, time: number}} Frame */

/** Why this page has no camera, or an empty string. */
export function cameraProblem() {
  if (navigator.mediaDevices) return "";
  return self.isSecureContext
    ? "This browser does not offer a camera to pages. Photos and videos work."
    : "The camera needs https or localhost, and this page came over plain http. " +
        "Photos and videos work.";
}

/**
 * Opens a camera.
 * @param {string} choice a device id, "user" (front) or "environment" (back)
 * @returns {Promise<MediaStream>}
 */
export async function openCamera(choice) {
  const problem = cameraProblem();
  if (problem) throw new Error(problem);
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const which = ["user", "environment"].includes(choice)
    ? { facingMode: { ideal: choice } }
    : { deviceId: { exact: choice } };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which }, audio: false });
  } catch (error) {
    throw new Error(reasonOf(/** @type {DOMException} */ (error)));
  }
}

/** @param {DOMException} error */
function reasonOf(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return (
        "Camera access was denied. Allow it in the browser's settings for this page, " +
        "then try again."
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Connect one, or choose photos.";
    case "NotReadableError":
      return "The camera is in use by another program, or it does not answer.";
    default:
      return `The camera cannot be opened: ${error.message || error.name}.`;
  }
}

/**
 * Lists the cameras; without names until one was opened.
 * @returns {Promise<{id: string, name: string}[]>}
 */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter(({ kind, deviceId }) => kind === "videoinput" && deviceId)
    .map(({ deviceId, label }, place) => ({ id: deviceId, name: label || `Camera ${place + 1}` }));
}

/** The frames of a video element, until `stop` is called; frames in between are skipped. */
export class FrameLoop {
  #stopped = false;
  #index = 0;
  #handle = 0;
  #start = performance.now();
  /** @type {number | null} the time of a frame that was shown and not yet taken */
  #fresh = null;
  #wake = () => {};

  /**
   * @param {HTMLVideoElement} video
   * @param {boolean} live whether the time is that since the start, as with a camera
   * @param {(frame: Frame) => Promise<void>} onFrame
   */
  constructor(video, live, onFrame) {
    this.video = video;
    this.live = live;
    this.onFrame = onFrame;
    this.#watch();
    this.done = this.#run();
  }

  stop() {
    this.#stopped = true;
    if (this.#handle) this.video.cancelVideoFrameCallback?.(this.#handle);
    this.#wake();
  }

  #watch() {
    const { video } = this;
    /** @param {number} time */
    const shown = (time) => {
      if (this.#stopped) return;
      this.#fresh = this.live ? (performance.now() - this.#start) / 1000 : time;
      this.#wake();
      next();
    };
    let last = -1;
    const poll = () => {
      if (this.#stopped) return;
      if (video.currentTime === last) {
        requestAnimationFrame(poll);
      } else {
        last = video.currentTime;
        shown(last);
      }
    };
    const next = () => {
      if ("requestVideoFrameCallback" in video) {
        this.#handle = video.requestVideoFrameCallback((_, { mediaTime }) => shown(mediaTime));
      } else {
        requestAnimationFrame(poll);
      }
    };
    next();
  }

  async #run() {
    while (!this.#stopped) {
      if (this.#fresh === null) {
        await new Promise((resolve) => {
          this.#wake = () => resolve(undefined);
        });
        continue;
      }
      const time = this.#fresh;
      this.#fresh = null;
      if (!this.video.videoWidth) continue;
      const bitmap = await createImageBitmap(this.video, { colorSpaceConversion: "none" });
      await this.onFrame({ bitmap, index: this.#index++, time });
    }
  }
}

/** Inference sizes to choose from, in pixels (longer side). */
export const SIZES = [320, 416, 640, 960];
/** Maximum milliseconds per frame for a display that still looks fluid. */
const BUDGET = 120;

/**
 * Returns how fast to play a video, so that results are not too far apart.
 * @param {number} ms per frame
 */
export function playbackRate(ms) {
  return Math.min(Math.max(BUDGET / ms, 0.1), 1);
}

/**
 * Chooses the largest size up to `imgsz` that keeps up, from the time of three frames.
 * @param {number[]} times milliseconds per frame at `imgsz`
 * @param {number} imgsz
 */
export function chooseSize(times, imgsz) {
  const median = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
  const smaller = SIZES.filter((size) => size < imgsz);
  const sizes = [imgsz, ...smaller.reverse()];
  return sizes.find((size) => median * (size / imgsz) ** 2 <= BUDGET) ?? sizes[sizes.length - 1];
}
