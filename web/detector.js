// @ts-check
/** The page's end of the worker that detects. */

/**
 * @typedef {import("./worker.js").Answer} Answer
 * @typedef {import("./worker.js").Model} Model
 */

/** Milliseconds that the worker may start with several threads; on iOS it can hang. */
export const THREADS_TIMEOUT = 20_000;
/** More threads than this make a small network slower. */
const MAX_THREADS = 4;

/** Returns how many threads this page may use: several only if it is cross-origin isolated. */
export function possibleThreads() {
  const asked = Number(new URLSearchParams(location.search).get("threads"));
  const cores = navigator.hardwareConcurrency || 1;
  const threads = Math.min(asked >= 1 ? Math.floor(asked) : cores, MAX_THREADS);
  return self.crossOriginIsolated ? threads : 1;
}

export class Detector {
  /** @type {Worker | undefined} */
  #worker;
  #id = 0;
  /** @type {Map<number, {resolve: (answer: Answer) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  /** The number of threads in use. */
  threads = 0;

  /**
   * Loads the model. If it does not start with several threads, one is used.
   * @param {Model} model
   * @param {(bytes: number) => void} onBytes called with the number of bytes loaded so far
   */
  async load(model, onBytes) {
    const threads = possibleThreads();
    try {
      await this.#start(model, threads, onBytes, threads > 1 ? THREADS_TIMEOUT : Infinity);
    } catch (error) {
      if (threads === 1) throw error;
      await this.#start(model, 1, onBytes, Infinity);
    }
  }

  /**
   * @param {Model} model
   * @param {number} threads
   * @param {(bytes: number) => void} onBytes
   * @param {number} timeout milliseconds without any progress
   */
  #start(model, threads, onBytes, timeout) {
    this.#worker?.terminate();
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let timer;
      const wait = () => {
        clearTimeout(timer);
        if (timeout < Infinity) {
          timer = setTimeout(() => reject(new Error("the detector does not start")), timeout);
        }
      };
      wait();
      worker.onerror = (event) => {
        clearTimeout(timer);
        const error = new Error(event.message || "this browser cannot run the detector");
        reject(error);
        for (const { reject: refuse } of this.#waiting.values()) refuse(error);
        this.#waiting.clear();
      };
      worker.onmessage = ({ data }) => {
        if (data.type === "progress") {
          wait();
          onBytes(data.bytes);
        } else if (data.type === "ready") {
          clearTimeout(timer);
          this.threads = threads;
          resolve(undefined);
        } else if (data.id === undefined) {
          clearTimeout(timer);
          reject(new Error(data.reason));
        } else {
          const waiting = this.#waiting.get(data.id);
          this.#waiting.delete(data.id);
          if (data.type === "answer") waiting?.resolve(data.answer);
          else waiting?.reject(new Error(data.reason));
        }
      };
      worker.postMessage({ type: "load", model, threads });
    });
  }

  /**
   * Detects in one image.
   * @param {Blob | ImageBitmap} image a file, or a bitmap, which is handed over
   * @param {{imgsz: number, groups: number[][], shownSide: number}} options
   * @returns {Promise<Answer & {shown: ImageBitmap}>}
   */
  detect(image, options) {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: /** @type {any} */ (resolve), reject });
      const handedOver = image instanceof Blob ? [] : [image];
      this.#worker?.postMessage({ type: "detect", id, image, ...options }, handedOver);
    });
  }
}
