// @ts-check
/** Registers the service worker, and decides when a new version of the page takes over. */

const RELOADED = "maskyolo reloaded";

/**
 * Makes the page work offline.
 *
 * A new version takes over at once if nothing is in use yet; otherwise `onUpdate` is called.
 * @param {object} hooks
 * @param {(state: string) => void} hooks.onState what to say about offline use
 * @param {() => boolean} hooks.inUse whether the user has already opened something
 * @param {(takeOver: () => void) => void} hooks.onUpdate called when a new version is ready
 */
export async function keepOffline({ onState, inUse, onUpdate }) {
  if (!self.isSecureContext || !("serviceWorker" in navigator)) {
    onState("Not over plain http: offline use needs https or localhost.");
    return;
  }
  const container = navigator.serviceWorker;
  const hadController = Boolean(container.controller);
  container.addEventListener("controllerchange", () => {
    if (hadController) location.reload();
    else onState("Ready: this page works offline.");
  });
  try {
    const registration = await container.register("sw.js", { updateViaCache: "none" });
    onState(registration.active ? "Ready: this page works offline." : "Storing the page …");
    const offer = () => {
      const next = registration.waiting;
      if (!next || !hadController) return;
      const takeOver = () => next.postMessage("take over");
      // at most once per tab, in case the host alternates between two versions
      if (inUse() || sessionStorage.getItem(RELOADED)) {
        onUpdate(takeOver);
      } else {
        sessionStorage.setItem(RELOADED, "yes");
        takeOver();
      }
    };
    const watch = () => {
      const installing = registration.installing;
      installing?.addEventListener("statechange", () => {
        if (installing.state === "installed") offer();
        if (installing.state === "redundant" && !hadController) {
          onState("Not yet: the page could not be stored. Reload to try again.");
        }
      });
    };
    registration.addEventListener("updatefound", watch);
    watch();
    offer();
  } catch (error) {
    onState(`Not available: ${/** @type {Error} */ (error).message.split("\n")[0]}`);
  }
}
