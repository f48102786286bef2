// @ts-check
/** The controls of a video: play, pause, position. */
import { $, clock } from "./page.js";

/** @param {HTMLVideoElement} video */
export function listenToPlayer(video) {
  const seek = /** @type {HTMLInputElement} */ ($("seek"));
  $("play").addEventListener("click", () => void (video.paused ? video.play() : video.pause()));
  for (const name of ["play", "pause", "ended"]) {
    video.addEventListener(name, () => {
      $("play").textContent = video.paused ? "Play" : "Pause";
      $("play").setAttribute("aria-pressed", String(!video.paused));
    });
  }
  video.addEventListener("timeupdate", () => {
    if (!Number.isFinite(video.duration)) return;
    seek.max = String(video.duration);
    seek.value = String(video.currentTime);
    seek.setAttribute("aria-valuetext", clock(video.currentTime));
    $("clock").textContent = `${clock(video.currentTime)} / ${clock(video.duration)}`;
  });
  seek.addEventListener("input", () => {
    video.currentTime = Number(seek.value);
  });
}
