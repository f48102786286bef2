// One camera: its newest frame, one at a time, its counts, and its zone and line.
import { Areas } from "./areas.js";

const RETRY = 2000; // milliseconds until a lost connection is opened again

export class Camera {
  /**
   * @param {number} number the camera's number
   * @param {boolean} withoutImages whether the server sends only numbers
   * @param {() => void} onChange called after each frame
   */
  constructor(number, withoutImages, onChange) {
    this.number = number;
    this.faces = [];
    this.record = null;
    this.withoutImages = withoutImages;
    this.onChange = onChange;
    this.element = document.getElementById("camera").content.cloneNode(true).firstElementChild;
    this.canvas = this.part("canvas");
    this.context = this.canvas.getContext("2d");
    this.element.dataset.number = number;
    this.areas = new Areas(this.element, number);
    if (withoutImages) this.part(".blank").textContent = "Only numbers are served.";
    this.connect();
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.socket?.close();
      else if (!this.socket) this.connect();
    });
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  connect() {
    if (document.hidden) return;
    const address = new URL(`cameras/${this.number}/frames`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "blob";
    this.socket = socket;
    let record = null;
    socket.onmessage = async (event) => {
      if (typeof event.data === "string") {
        record = JSON.parse(event.data);
        this.shape(record.width, record.height);
        if (!this.withoutImages) return;
      } else {
        await this.paint(event.data);
      }
      this.record = record;
      this.faces = record.detections;
      this.element.dataset.frame = record.frame;
      this.age = record.datetime ? Date.now() - new Date(record.datetime) : null;
      this.onChange();
      if (socket.readyState === WebSocket.OPEN) socket.send("next");
    };
    socket.onclose = () => {
      if (this.socket === socket) this.socket = null;
      this.faces = [];
      setTimeout(() => this.socket ?? this.connect(), RETRY);
    };
  }

  shape(width, height) {
    this.part(".picture").style.aspectRatio = `${width} / ${height}`;
    this.element.style.setProperty("--ratio", width / height);
  }

  async paint(blob) {
    const image = await createImageBitmap(blob);
    if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
      this.canvas.width = image.width;
      this.canvas.height = image.height;
    }
    this.context.drawImage(image, 0, 0);
    image.close();
    this.part(".blank").hidden = true;
  }

  /** Show what the server says about the camera. */
  describe(about) {
    const live = about.status === "live";
    this.part(".name").textContent = about.name;
    this.canvas.setAttribute("aria-label", `Camera ${about.name}`);
    this.element.classList.toggle("stale", !live);
    this.part(".badge").hidden = !live;
    this.part(".problem").hidden = !about.problem;
    this.part(".problem").textContent = about.problem;
    if (!live) this.faces = [];
    if (about.status === "ended") this.part(".problem").textContent = "The recording has ended.";
    this.areas.show(about.zone, about.line);
    const today = about.today;
    const parts = [`${today.people} today`];
    if (live) parts.push(`${about.rate.toFixed(1)} frames/s`);
    this.part(".numbers").textContent = parts.join(", ");
  }
}
