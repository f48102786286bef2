// The live page: cameras, counts and alerts of `maskyolo serve`.
import { drawHours } from "./hours.js";
import { Camera } from "./camera.js";

const find = (id) => document.getElementById(id);
const cameras = new Map();
const REFRESH = 1000; // milliseconds between requests of the counts

async function refresh() {
  let response;
  try {
    response = await fetch("cameras");
  } catch {
    say("The server does not answer", false);
    return true;
  }
  if (response.status === 401) {
    askForToken();
    return false;
  }
  if (!response.ok) {
    say(`The server answers with ${response.status}`, false);
    return true;
  }
  show(await response.json());
  return true;
}

async function keepRefreshing() {
  if (await refresh()) setTimeout(keepRefreshing, REFRESH);
}

function show(state) {
  find("login").hidden = true;
  find("totals").hidden = find("below").hidden = false;
  for (const about of state.cameras) {
    if (!cameras.has(about.number)) {
      const camera = new Camera(about.number, state.stats_only, showNow);
      cameras.set(about.number, camera);
      find("cameras").append(camera.element);
    }
    cameras.get(about.number).describe(about);
  }
  const live = state.cameras.filter((camera) => camera.status === "live").length;
  say(`${live} of ${state.cameras.length} live`, live > 0);
  const today = sum(state.cameras.map((camera) => camera.today));
  find("today-people").textContent = today.people;
  find("today-with").textContent = today.with_mask;
  find("today-without").textContent = today.without_mask + today.incorrect_mask;
  find("today-changed").textContent = today.put_on + today.took_off;
  drawHours(find("hours"), state.cameras[0].hours.map((_, hour) => sum(state.cameras.map((camera) => camera.hours[hour]))));
  showAlerts(state);
  showNow();
}

function sum(counts) {
  const total = {};
  for (const each of counts) {
    for (const [name, number] of Object.entries(each)) total[name] = (total[name] ?? 0) + number;
  }
  return total;
}

function showNow() {
  const faces = [...cameras.values()].flatMap((camera) => camera.faces);
  const worn = faces.filter((face) => face.class === "with_mask").length;
  find("now-with").textContent = worn;
  find("now-without").textContent = faces.length - worn;
}

function showAlerts(state) {
  const newest = state.alerts.map((alert) => alert.number).join();
  const list = find("alerts");
  if (list.dataset.shown === newest) return;
  list.dataset.shown = newest;
  find("no-alerts").hidden = state.alerts.length > 0;
  list.replaceChildren(
    ...state.alerts.map((alert) => {
      const item = document.createElement("li");
      const time = new Date(alert.datetime).toLocaleTimeString();
      if (alert.image) {
        const image = document.createElement("img");
        image.src = `alerts/${alert.number}.jpg`;
        image.alt = `Alert of ${time}`;
        image.loading = "lazy";
        item.append(image);
      }
      const text = document.createElement("p");
      text.textContent = `${time}, ${alert.source}, #${alert.track_id}`;
      item.append(text);
      return item;
    }),
  );
}

function say(text, good) {
  find("link").querySelector("span").textContent = text;
  find("link").classList.toggle("off", !good);
}

function askForToken() {
  say("Token needed", false);
  find("login").hidden = false;
  find("token").focus();
}

find("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("login", { method: "POST", body: find("token").value.trim() });
  find("wrong").hidden = response.ok;
  if (response.ok) {
    find("token").value = "";
    keepRefreshing();
  }
});

keepRefreshing();
