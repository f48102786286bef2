// Draws zones and lines on a camera's picture, with mouse, finger or keyboard.
const NAMES = "http://www.w3.org/2000/svg";
const CLOSE = 0.03; // distance to the first corner at which a click closes the zone, as a fraction

function button(text, action) {
  const made = document.createElement("button");
  made.className = "quiet";
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
}

export class Areas {
  /**
   * @param {Element} element the camera's element
   * @param {number} number the camera's number
   */
  constructor(element, number) {
    this.element = element;
    this.number = number;
    this.picture = element.querySelector(".picture");
    this.svg = element.querySelector(".areas");
    this.tools = element.querySelector(".tools");
    this.saved = { zone: null, line: null };
    this.points = [];
    this.kind = "";
    this.picture.addEventListener("pointerdown", (event) => this.add(event));
    this.idle();
  }

  /** Show the zone and line that the server has. */
  show(zone, line) {
    const key = JSON.stringify([zone, line]);
    if (this.kind || key === this.shown) return;
    this.shown = key;
    this.saved = { zone, line };
    this.draw();
    this.idle();
  }

  idle() {
    this.kind = "";
    this.points = [];
    this.element.classList.remove("drawing");
    const parts = [button("Draw a zone", () => this.start("zone")), button("Draw a line", () => this.start("line"))];
    if (this.saved.zone) parts.push(button("Remove the zone", () => this.save({ ...this.saved, zone: null })));
    if (this.saved.line) parts.push(button("Remove the line", () => this.save({ ...this.saved, line: null })));
    this.tools.replaceChildren(...parts);
    this.draw();
  }

  start(kind) {
    this.kind = kind;
    this.points = [];
    this.element.classList.add("drawing");
    const hint = document.createElement("span");
    hint.setAttribute("role", "status");
    hint.textContent = kind === "zone"
      ? "Click the corners of the zone in the image."
      : "Click the two ends of the line. From right to left is in.";
    this.done = button("Save", () => this.save({ ...this.saved, [kind]: this.points }));
    this.done.classList.add("save");
    this.done.disabled = true;
    this.tools.replaceChildren(hint, this.done, button("Cancel", () => this.idle()));
    this.draw();
  }

  add(event) {
    if (!this.kind) return;
    event.preventDefault();
    const box = this.picture.getBoundingClientRect();
    const limit = (value) => Math.min(Math.max(value, 0), 1);
    const point = [limit((event.clientX - box.left) / box.width), limit((event.clientY - box.top) / box.height)];
    const first = this.points[0];
    const closes = this.kind === "zone" && this.points.length >= 3 && Math.hypot(point[0] - first[0], point[1] - first[1]) < CLOSE;
    if (this.kind === "line" && this.points.length === 2) this.points = [];
    if (!closes) this.points.push(point);
    this.done.disabled = this.points.length < (this.kind === "zone" ? 3 : 2);
    this.draw();
  }

  async save(areas) {
    const response = await fetch(`cameras/${this.number}/areas`, {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(areas),
    });
    if (response.ok) {
      this.saved = areas;
      this.shown = "";
      this.idle();
      return;
    }
    const answer = await response.json().catch(() => ({}));
    const problem = document.createElement("span");
    problem.className = "wrong";
    problem.setAttribute("role", "alert");
    problem.textContent = typeof answer.detail === "string" ? answer.detail : "This cannot be saved.";
    this.tools.append(problem);
  }

  draw() {
    const shown = { ...this.saved, ...(this.kind ? { [this.kind]: this.points } : {}) };
    const shapes = [["polygon", shown.zone], ["polyline", shown.line]]
      .filter(([, points]) => points?.length)
      .map(([name, points]) => {
        const shape = document.createElementNS(NAMES, name);
        shape.setAttribute("points", points.map((point) => point.join()).join(" "));
        return shape;
      });
    this.svg.replaceChildren(...shapes);
  }
}
