// One camera: its newest frame, one at a time, and its counts.
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
    const socket = new WebSocket(`cameras/${this.number}/frames`.replace(/^/, location.href.replace(/^http/, "ws").replace(/[^/]*$/, "")));
    socket.binaryType = "blob";
    this.socket = socket;
    let record = null;
    socket.onmessage = async (event) => {
      if (typeof event.data === "string") {
        record = JSON.parse(event.data);
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

  async paint(blob) {
    const image = await createImageBitmap(blob);
    if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
      this.canvas.width = image.width;
      this.canvas.height = image.height;
      this.part(".picture").style.aspectRatio = `${image.width} / ${image.height}`;
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
    const today = about.today;
    const parts = [`${today.people} today`];
    if (live) parts.push(`${about.rate.toFixed(1)} frames/s`);
    this.part(".numbers").textContent = parts.join(", ");
  }
}
