"use strict";
// One key gives one label. The next crop is shown at once; labels are sent to the server one after the other, in order.
const KEYS = { c: "clean", p: "pit", u: "unsure", x: "unusable" };
const by = (id) => document.getElementById(id);
const state = { person: "", todo: [], done: 0, total: 0, zoom: 6, view: "even", deciding: false, others: new Map() };
const pictures = new Map(); // promises of blob URLs, by path: the next crops are fetched ahead
let last = Promise.resolve(); // the labels that are being sent

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function picture(crop, plane) {
  const path = `/crop/${crop}/${state.view}/${plane}.png`;
  if (!pictures.has(path)) {
    pictures.set(path, fetch(path).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    while (pictures.size > 200) {
      const [oldest, url] = pictures.entries().next().value;
      pictures.delete(oldest);
      url.then(URL.revokeObjectURL, () => undefined);
    }
  }
  return pictures.get(path);
}

function resize() {
  for (const id of ["top", "bottom"]) {
    const image = by(id);
    if (image.naturalWidth) image.width = image.naturalWidth * state.zoom;
  }
}

async function show() {
  const crop = state.todo[0];
  const said = state.others.get(crop);
  by("progress").textContent = state.deciding
    ? `${state.todo.length} to decide`
    : `${state.person}: ${state.done} of ${state.total}`;
  by("bar").firstElementChild.style.width = state.total ? `${(100 * state.done) / state.total}%` : "0";
  by("others").textContent = crop === undefined
    ? (state.deciding ? "Nobody disagrees." : "All are labelled.")
    : said ? Object.entries(said).map(([name, word]) => `${name}: ${word}`).join("   ") : "";
  by("planes").hidden = crop === undefined;
  by("work").dataset.crop = crop ?? "";
  if (crop === undefined) return;
  const urls = await Promise.all([picture(crop, 0), picture(crop, 1)]);
  if (state.todo[0] !== crop) return; // another key was pressed first
  for (const [place, id] of ["top", "bottom"].entries()) {
    by(id).onload = resize;
    by(id).src = urls[place];
  }
  await Promise.all(["top", "bottom"].map((id) => by(id).decode().catch(() => {}))); // it also fails if the picture changes
  if (state.todo[0] !== crop) return;
  by("work").dataset.shown = crop;
  for (const next of state.todo.slice(1, 6)) for (const plane of [0, 1]) picture(next, plane);
}

function tell(told) {
  const kappa = told.kappa === null ? "" : `, kappa ${told.kappa.toFixed(2)}`;
  by("agreement").textContent = told.both ? `${told.agreed} of ${told.both} agreed${kappa}; ${told.differ} to decide` : "";
}

function wrong(error) {
  by("wrong").textContent = error.message ? `${error.message}. Reload this page to continue.` : "";
}

async function load() {
  const told = await ask(state.deciding ? "/differing" : `/work?by=${encodeURIComponent(state.person)}`);
  state.others = new Map(state.deciding ? told.crops.map((one) => [one.crop, one.said]) : []);
  state.todo = state.deciding ? [...state.others.keys()] : told.todo;
  if (!state.deciding) Object.assign(state, { done: told.done, total: told.total });
  tell(told);
  await show();
}

function queue(act) {
  last = last.then(act);
  last.catch(wrong); // after an error nothing more is sent, so that the page does not show labels that are not stored
}

function say(said) {
  const crop = state.todo[0];
  if (crop === undefined || by("work").dataset.shown !== crop) return; // nobody has seen it yet
  const person = state.deciding ? "decision" : state.person;
  state.todo.shift();
  state.done += !state.deciding;
  const more = state.todo.length === 0;
  queue(async () => {
    tell(await ask("/label", { by: person, crop, said }));
    if (more) await load();
  });
  if (!more) show().catch(wrong);
}

function undo() {
  queue(async () => {
    const told = await ask("/undo", { by: state.deciding ? "decision" : state.person });
    tell(told);
    if (told.crop === null) return;
    if (state.deciding) return load();
    state.todo.unshift(told.crop);
    state.done -= 1;
    await show();
  });
}

const zoom = (factor) => { state.zoom = Math.min(32, Math.max(1, state.zoom * factor)); resize(); };
const ACTS = {
  z: undo,
  backspace: undo,
  "+": () => zoom(1.5),
  "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5),
  s: () => {
    state.view = state.view === "even" ? "true" : "even";
    by("view").lastChild.textContent = state.view === "even" ? " true light" : " stretched light";
    show().catch(wrong);
  },
  d: () => {
    state.deciding = !state.deciding;
    by("mode").lastChild.textContent = state.deciding ? " continue labelling" : " disagreements";
    queue(load);
  },
};

document.addEventListener("keydown", (event) => {
  if (by("work").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key in KEYS) say(KEYS[key]);
  else if (key in ACTS) ACTS[key]();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-said]")) button.onclick = () => say(button.dataset.said);
for (const [id, key] of [["undo", "z"], ["closer", "+"], ["farther", "-"], ["view", "s"], ["mode", "d"]]) by(id).onclick = ACTS[key];
by("who").addEventListener("submit", (event) => {
  event.preventDefault();
  state.person = by("by").value;
  by("who").hidden = true;
  by("work").hidden = false;
  by("by").blur();
  load().catch(wrong);
});
