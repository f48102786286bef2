// A chart of people by hour.
const WIDTH = 640, HEIGHT = 200, LEFT = 34, BOTTOM = 20, TOP = 8;
const NAMES = "http://www.w3.org/2000/svg";

function node(name, attributes, text = "") {
  const made = document.createElementNS(NAMES, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** Draw stacked bars of with mask, without mask and changed for 24 hours. */
export function drawHours(place, hours) {
  const key = JSON.stringify(hours);
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  const groups = hours.map((hour) => ({
    with: hour.with_mask,
    without: hour.without_mask + hour.incorrect_mask,
    changed: hour.put_on + hour.took_off,
  }));
  const most = Math.max(4, ...hours.map((hour) => hour.people));
  const size = 10 ** Math.floor(Math.log10(most));
  const top = [1, 2, 4, 5, 10].map((step) => step * size).find((value) => value >= most);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const step = (WIDTH - LEFT) / 24;
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "People by hour of today" });
  for (const value of [0, top / 2, top]) {
    svg.append(node("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }));
    svg.append(node("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value));
  }
  groups.forEach((group, hour) => {
    let below = 0;
    const bars = node("g", {});
    bars.append(node("title", {}, `${hour}:00: ${group.with} with mask, ${group.without} without mask, ${group.changed} changed`));
    for (const [name, number] of Object.entries(group)) {
      if (number) {
        bars.append(node("rect", {
          class: `bar ${name}`, x: LEFT + hour * step + 2, width: step - 4,
          y: y(below + number), height: y(below) - y(below + number),
        }));
      }
      below += number;
    }
    svg.append(bars);
    if (hour % 3 === 0) {
      svg.append(node("text", { x: LEFT + (hour + 0.5) * step, y: HEIGHT - 4, "text-anchor": "middle" }, hour));
    }
  });
  place.replaceChildren(svg);
}
