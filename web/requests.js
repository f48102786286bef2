// @ts-check
/** The proof that nothing leaves the device. */
import { $ } from "./page.js";

/** Counts requests to other addresses, which the policy forbids. */
export function watchRequests() {
  let foreign = 0;
  const count = (/** @type {string} */ url) => {
    if (url && !url.startsWith(location.origin) && !url.startsWith("blob:")) foreign += 1;
    $("foreign").textContent = String(foreign);
  };
  document.addEventListener("securitypolicyviolation", ({ blockedURI }) => count(blockedURI));
  new PerformanceObserver((list) => {
    for (const { name } of list.getEntries()) count(name);
  }).observe({ type: "resource", buffered: true });
}
