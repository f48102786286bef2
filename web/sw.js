// @ts-check
/**
 * The service worker: keeps one complete version of the page for offline use, and adds the headers
 * that threads need to its responses, for hosts that cannot.
 *
 * version.js is written by `maskyolo web`: `self.VERSION`, `self.FILES` with the SHA-256 of each file,
 * and `self.HEADERS` of every response. A change in it installs a new version next to the old one; the page decides when the
 * new one takes over (`offline.js`).
 */
const worker = /** @type {any} */ (self);
worker.importScripts("version.js");

/** @type {{[path: string]: string}} */
const FILES = worker.FILES;
const PREFIX = `maskyolo ${new URL("./", worker.location.href).pathname} `;
const CACHE = PREFIX + worker.VERSION;
/** @param {ArrayBuffer} data */
async function sha256(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Downloads a file and stores it, if it is the one of this version.
 * @param {Cache} cache
 * @param {string} path
 */
async function store(cache, path) {
  const answer = await fetch(path, { cache: "no-cache" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  const data = await answer.arrayBuffer();
  if ((await sha256(data)) !== FILES[path]) throw new Error(`${path} belongs to another version`);
  const headers = new Headers(worker.HEADERS);
  headers.set("Content-Type", answer.headers.get("Content-Type") ?? "application/octet-stream");
  await cache.put(path, new Response(data, { headers }));
}

/** Stores the whole version, or nothing. */
async function install() {
  const cache = await caches.open(CACHE);
  try {
    await Promise.all(Object.keys(FILES).map((path) => store(cache, path)));
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
}

/** Removes the versions before this one, and takes over the pages without a service worker. */
async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await worker.clients.claim();
}

/** @param {Request} request */
async function answer(request) {
  const url = new URL(request.url);
  const path = url.pathname.slice(new URL("./", worker.location.href).pathname.length);
  const cache = await caches.open(CACHE);
  const stored = await cache.match(path === "" ? "index.html" : path);
  return stored ?? fetch(request);
}

worker.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
worker.addEventListener("message", (/** @type {any} */ event) => {
  if (event.data === "take over") worker.skipWaiting();
});
worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const mine = request.method === "GET" && request.url.startsWith(worker.registration.scope);
  if (mine) event.respondWith(answer(request));
});
