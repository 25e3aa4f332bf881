"use strict";
// Shows the state of the board. Signs have the shapes of pitcore/cli/picture.py.

const $ = (id) => document.getElementById(id);
const SIGNS = { clean: "ring", maybe: "diamond", pit: "square with crosses", side: "brackets" };
const COLOURS = {};
const TINTS = { top: [255, 133, 128], bottom: [255, 189, 107] };
const SILENT_MS = 2000; // if no event of the board arrives for longer, the page shows it
const OLD_MS = 5000; // largest age of a picture while frames come, with any number of viewers; more for a slow camera
const RETRY_MS = 5000; // after the board refused to send events
const KEEP_LAST = 12;
const HINT = "Open a cherry to see why: click it, or choose with the arrow keys and press Enter.";
const MARGIN = 6;

let setup = null;
let told = null;
let heardAt = performance.now();
let isCut = false; // the browser lost the connection and tries to connect again
let isShut = false; // the board shows nothing without a token
let picture = null; // {image, cherries, number, atMs}, atMs by the board's clock
let isHeld = false;
let chosen = -1;
let points = [];
let me = { name: null, role: null, open: true };
const last = new Map();

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const number = (value) => Math.round(value).toLocaleString("en");
const percent = (share, digits = 1) => (share === null || Number.isNaN(share) ? "–" : (100 * share).toFixed(digits) + " %");
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };

function clock(since) { // by the clock of whoever looks; the day too if it is another one
  const at = new Date(since);
  const day = at.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return at.toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function span(seconds) {
  if (seconds < 90) return Math.round(seconds) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  return (seconds / 3600).toFixed(1) + " h";
}

// Signs ------------------------------------------------------------------------------------------------------------

function lines(verdict, x, y, w, h) {
  const [l, t, r, b] = [x - MARGIN, y - MARGIN, x + w + MARGIN, y + h + MARGIN];
  if (verdict === "maybe") {
    const [cx, cy, fx, fy] = [x + w / 2, y + h / 2, w * 0.75 + MARGIN, h * 0.75 + MARGIN];
    return [[cx, cy - fy, cx + fx, cy, cx, cy + fy, cx - fx, cy, cx, cy - fy]];
  }
  if (verdict === "pit") {
    const a = Math.max(8, Math.min(w, h) / 4) / 2;
    const found = [[l, t, r, t, r, b, l, b, l, t]];
    for (const [cx, cy] of [[l, t], [r, t], [l, b], [r, b]]) {
      found.push([cx - a, cy - a, cx + a, cy + a], [cx - a, cy + a, cx + a, cy - a]);
    }
    return found;
  }
  const a = Math.max(8, w / 3);
  return [[l + a, t, l, t, l, b, l + a, b], [r - a, t, r, t, r, b, r - a, b]];
}

function drawSign(pen, verdict, x, y, w, h) {
  pen.strokeStyle = COLOURS[verdict];
  pen.beginPath();
  if (verdict === "clean") {
    pen.ellipse(x + w / 2, y + h / 2, w / 2 + MARGIN, h / 2 + MARGIN, 0, 0, 2 * Math.PI);
  } else {
    for (const line of lines(verdict, x, y, w, h)) {
      pen.moveTo(line[0], line[1]);
      for (let at = 2; at < line.length; at += 2) pen.lineTo(line[at], line[at + 1]);
    }
  }
  pen.stroke();
}

function sign(verdict) {
  const shapes = verdict === "clean"
    ? [svg("circle", { cx: 32, cy: 32, r: 24 })]
    : lines(verdict, 16, 16, 32, 32).map((line) => svg("polyline", { points: line.join(" ") }));
  const node = svg("svg", { class: "sign", viewBox: "0 0 64 64", "aria-hidden": "true" }, ...shapes);
  for (const shape of shapes) {
    shape.setAttribute("fill", "none");
    shape.setAttribute("stroke", "currentColor");
    shape.setAttribute("stroke-width", "6");
  }
  return node;
}

// Belt -------------------------------------------------------------------------------------------------------------

function drawBelt() {
  if (!picture || !setup) return;
  const canvas = $("picture");
  const rows = setup.planes.length;
  const scale = picture.image.naturalWidth / setup.width;
  const height = picture.image.naturalHeight / rows;
  const gap = 6;
  const [w, h] = [picture.image.naturalWidth, Math.round(picture.image.naturalHeight + gap * (rows - 1))];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const pen = canvas.getContext("2d");
  pen.globalCompositeOperation = "source-over";
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, w, h);
  setup.planes.forEach((name, row) => {
    const top = row * (height + gap);
    pen.save();
    pen.beginPath();
    pen.rect(0, top, w, height);
    pen.clip();
    pen.drawImage(picture.image, 0, row * height, w, height, 0, top, w, height);
    pen.globalCompositeOperation = "multiply";
    pen.fillStyle = `rgb(${(TINTS[name] || [255, 255, 255]).join(" ")})`;
    pen.fillRect(0, top, w, height);
    pen.globalCompositeOperation = "source-over";
    pen.translate(0, top);
    pen.scale(scale, scale);
    pen.lineWidth = 2.5 / scale;
    picture.cherries.forEach((cherry, index) => {
      drawSign(pen, cherry.verdict, cherry.x, cherry.y, cherry.w, cherry.h);
      if (index === chosen) {
        pen.strokeStyle = "#fff";
        pen.setLineDash([8, 6]);
        pen.strokeRect(cherry.x - 18, cherry.y - 18, cherry.w + 36, cherry.h + 36);
        pen.setLineDash([]);
      }
    });
    pen.restore();
    pen.font = "bold 20px sans-serif";
    pen.lineWidth = 4;
    pen.strokeStyle = "#000";
    pen.strokeText(name, 10, top + height - 10);
    pen.fillStyle = "#e8eaee";
    pen.fillText(name, 10, top + height - 10);
  });
  const seen = {};
  for (const cherry of picture.cherries) seen[cherry.verdict] = (seen[cherry.verdict] || 0) + 1;
  const words = Object.entries(seen).map(([verdict, count]) => `${count} ${verdict}`).join(", ") || "no cherry";
  canvas.setAttribute("aria-label", `The belt with a sign around each cherry: ${words}`);
  canvas.dataset.number = picture.number;
  canvas.dataset.cherries = JSON.stringify(picture.cherries);
}

function takePicture(event) {
  const news = JSON.parse(event.data);
  const cherries = news.cherries.map(([id, x, y, w, h, verdict, reason, p]) => ({ id, x, y, w, h, verdict, reason, p }));
  for (const cherry of cherries) {
    if (cherry.verdict === "pit" || cherry.verdict === "maybe") noteLast(cherry);
  }
  if (isHeld) return;
  const image = new Image();
  image.onload = () => {
    if (isHeld) return; // held while the image was loading
    const before = chosen >= 0 && picture ? picture.cherries[chosen] : null;
    picture = { image, cherries, number: news.number, atMs: news.at_ms };
    chosen = before ? cherries.findIndex((cherry) => cherry.id === before.id) : -1;
    drawBelt();
  };
  image.src = "data:image/jpeg;base64," + news.jpeg;
}

function noteLast(cherry) {
  if (last.has(cherry.id) || cherry.y < 0 || cherry.y + cherry.h > setup.height) return;
  last.set(cherry.id, cherry);
}

function drawLast() {
  while (last.size > KEEP_LAST) last.delete(last.keys().next().value);
  const list = $("last");
  if (list.contains(document.activeElement)) return; // the button that a person is about to press must not move
  const wanted = [...last.values()].reverse();
  const have = [...list.children].map((node) => Number(node.dataset.id));
  if (wanted.every((cherry, at) => have[at] === cherry.id) && have.length === wanted.length) return;
  if (!wanted.length) list.replaceChildren(make("li", { className: "none" }, "None since this page was opened."));
  else list.replaceChildren(...wanted.map((cherry) => {
    const image = make("img", { src: `cherry/${cherry.id}/0.png`, alt: "" });
    image.onerror = () => image.remove();
    const said = cherry.p === null ? cherry.reason || "" : percent(cherry.p, 0);
    const button = make("button", { type: "button", className: cherry.verdict, ariaLabel: `${cherry.verdict} ${said}` }, image, make("span", {}, sign(cherry.verdict), said));
    button.onclick = () => openCherry(cherry.id);
    return make("li", { "data-id": cherry.id }, button);
  }));
}

function choose(index) {
  if (!picture || !picture.cherries.length) return;
  const count = picture.cherries.length;
  chosen = (index + count) % count;
  const cherry = picture.cherries[chosen];
  setText($("chosen"), `${chosen + 1} of ${count}: ${cherry.verdict}` +
    (cherry.p === null ? "" : `, pit with ${percent(cherry.p)}`) + (cherry.reason ? `, ${cherry.reason}` : ""));
  drawBelt();
}

function hold(state) {
  isHeld = state;
  $("hold").setAttribute("aria-pressed", String(state));
  setText($("hold"), state ? "Resume" : "Hold the picture");
}

$("hold").onclick = () => hold(!isHeld);
$("strip").onkeydown = (event) => {
  if (!picture) return;
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.key in steps) {
    event.preventDefault();
    if (!picture.cherries.length) {
      setText($("chosen"), "no cherry in view");
      return;
    }
    hold(true);
    choose(chosen < 0 ? 0 : chosen + steps[event.key]);
  } else if (event.key === "Enter" && chosen >= 0) {
    openCherry(picture.cherries[chosen].id);
  } else if (event.key === "Escape") {
    hold(false);
    chosen = -1;
    setText($("chosen"), HINT);
  }
};
$("picture").onclick = (event) => {
  if (!picture) return;
  const canvas = $("picture");
  const area = canvas.getBoundingClientRect();
  const scale = setup.width / area.width;
  const rowHeight = area.height / setup.planes.length;
  const x = (event.clientX - area.left) * scale;
  const y = ((event.clientY - area.top) % rowHeight) * scale;
  const away = picture.cherries.map((c) => Math.hypot(x - c.x - c.w / 2, y - c.y - c.h / 2));
  const nearest = away.indexOf(Math.min(...away));
  if (nearest < 0 || away[nearest] > 120) return;
  choose(nearest);
  openCherry(picture.cherries[nearest].id);
};

async function openCherry(id) {
  const answer = await fetch(`cherry/${id}`);
  const dialog = $("cherry");
  if (!answer.ok) {
    setText($("chosen"), (await answer.json()).error);
    return;
  }
  const cherry = await answer.json();
  $("cherry-title").replaceChildren(sign(cherry.verdict), `Cherry ${id}: ${cherry.verdict}`);
  $("cherry-title").className = cherry.verdict;
  $("planes").replaceChildren(...setup.planes.map((name, plane) => make("figure", {},
    make("img", { src: `cherry/${id}/${plane}.png`, alt: `the cherry in the plane ${name}` }), make("figcaption", {}, name))));
  const pit = cherry.probabilities ? cherry.probabilities.pit : null;
  setText($("why"), cherry.why || (cherry.verdict === "side" ? "The edge of the picture cuts it." : `It is ${cherry.verdict}: the network is sure enough.`));
  $("scale").replaceChildren();
  if (pit !== null && cherry.thresholds) drawScale(pit, cherry.thresholds);
  const facts = { "probability of a pit": pit === null ? "the network did not judge it" : percent(pit, 2), "what the line does": cherry.action, lane: cherry.lane };
  if (cherry.thresholds) facts.thresholds = `clean below ${percent(cherry.thresholds.accept, 2)}, pit from ${percent(cherry.thresholds.reject, 2)}`;
  fill($("facts"), facts);
  if (!dialog.open) dialog.showModal();
}

function drawScale(pit, thresholds) {
  const at = (share) => 4 + 592 * share;
  $("scale").setAttribute("aria-label", `Probability of a pit ${percent(pit)}; clean below ${percent(thresholds.accept)}, pit from ${percent(thresholds.reject)}`);
  const part = (from, to, colour) => svg("rect", { x: at(from), y: 14, width: Math.max(1, at(to) - at(from)), height: 12, fill: colour });
  $("scale").append(svg("svg", { viewBox: "0 0 600 40", preserveAspectRatio: "none", "aria-hidden": "true" },
    part(0, thresholds.accept, COLOURS.clean), part(thresholds.accept, thresholds.reject, COLOURS.maybe),
    part(thresholds.reject, 1, COLOURS.pit), svg("rect", { x: at(pit) - 4, y: 2, width: 8, height: 36, fill: "#fff", stroke: "#000", "stroke-width": 2 })),
  make("p", { ariaHidden: "true" }, ...["clean", "maybe", "pit"].map((name) => make("span", { className: name }, name))));
}

// Everything else --------------------------------------------------------------------------------------------------

function fill(list, facts, bad = {}) {
  const wanted = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
  const key = JSON.stringify([wanted, bad]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...wanted.flatMap(([name, value]) => [make("dt", {}, name), make("dd", { className: bad[name] ? "bad" : "" }, String(value))]));
}

function drawCounts() {
  const wish = document.querySelector("input[name=span]:checked").value;
  const counts = told.counts[wish] || told.counts.minute;
  const sums = told.verdicts.map((_, at) => counts.lanes.reduce((sum, lane) => sum + lane[at], 0));
  const all = sums.reduce((a, b) => a + b, 0);
  const minutes = Math.max(counts.span_s, 1) / 60;
  if (!$("tiles").children.length) {
    $("tiles").replaceChildren(...told.verdicts.map((verdict) => make("li", { className: verdict, "data-verdict": verdict },
      make("span", { className: "name" }, sign(verdict), verdict), make("span", { className: "share" }), make("span", { className: "number" }, make("b"), make("span")))));
    $("shares").replaceChildren(...told.verdicts.map((verdict) => make("i", { className: verdict })));
  }
  told.verdicts.forEach((verdict, at) => {
    const tile = $("tiles").children[at];
    setText(tile.querySelector(".share"), all ? percent(sums[at] / all) : "–");
    const [count, rate] = tile.querySelector(".number").children;
    setText(count, number(sums[at]));
    setText(rate, `${number(sums[at] / minutes)} a minute`);
    tile.dataset.count = sums[at];
    $("shares").children[at].style.flexGrow = sums[at];
  });
  setText($("covers"), wish === "shift" && counts.name
    ? `${number(all)} cherries, shift ${counts.name} since ${counts.since}`
    : `${number(all)} cherries in ${span(counts.span_s)}`);
  const rows = counts.lanes.map((lane, at) => [told.lanes[at], ...lane, lane.reduce((a, b) => a + b, 0)]);
  const key = JSON.stringify(rows);
  if ($("lanes").dataset.key === key) return;
  $("lanes").dataset.key = key;
  $("lanes-head").replaceChildren(make("tr", {}, ...["lane", ...told.verdicts, "all", "pit share"].map((name) => make("th", { scope: "col", className: name }, name))));
  const pit = told.verdicts.indexOf("pit") + 1;
  $("lanes").replaceChildren(...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row[0]),
    ...row.slice(1).map((value) => make("td", {}, number(value))), make("td", {}, row.at(-1) ? percent(row[pit] / row.at(-1)) : "–"))));
}

const RATE_POINTS = 10; // over which the cherries a second are averaged
const whole = (value) => number(Math.ceil(value));
const time = (ms) => (ms < 1000 ? `${number(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
// Each shows the values of its keys; ``top`` is the least end of its scale, ``limit`` the greatest.
const CHARTS = [
  { title: "Time from picture to verdict", keys: ["p50_ms", "p99_ms"], names: ["half in", "99 % in"], top: 50, text: time, end: time },
  { title: "Computing time left", keys: ["headroom"], top: 1, limit: 1, text: (value) => percent(value, 0), end: (value) => percent(value, 0) },
  { title: "Frames lost or dropped", keys: ["dropped"], top: 4, isSum: true, text: number, end: whole },
  { title: "Rejects too late", keys: ["late"], top: 4, isSum: true, text: number, end: whole },
  { title: "Time to spare before a reject", keys: ["spare_ms"], top: 50, isLeast: true, needsValves: true, text: (value) => `least ${time(value)}`, end: time },
  { title: "Cherries a second", keys: ["cherries"], top: 4, average: RATE_POINTS, text: (value) => value.toFixed(1), end: whole },
];

function averaged(values, over) {
  return values.map((_, at) => {
    const near = values.slice(Math.max(0, at - over + 1), at + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

function drawCharts() {
  if (!points.length) return;
  if (!$("charts").children.length) {
    $("charts").replaceChildren(...CHARTS.map((chart) => make("div", { className: "chart" },
      make("h3", {}, make("span", {}, chart.title), make("span", { className: "now" }, ...chart.keys.map((_, at) =>
        make("span", { className: chart.names ? `key ${at ? "second" : "first"}` : "" }, chart.names ? `${chart.names[at]} ` : "", make("b"))))),
      make("div", { className: "area" }, svg("svg", { viewBox: "0 0 300 60", preserveAspectRatio: "none", role: "img" }), make("small", { ariaHidden: "true" })))));
  }
  CHARTS.forEach((chart, place) => {
    $("charts").children[place].hidden = Boolean(chart.needsValves && told && told.line && !told.line.arming_possible);
    const [head, area] = $("charts").children[place].children;
    const rows = chart.keys.map((key) => points.map((point) => point[key])).map((row) => (chart.average ? averaged(row, chart.average) : row));
    const top = chart.limit || Math.max(chart.top, ...rows.flat().filter((value) => value !== null));
    const texts = rows.map((row) => {
      const known = row.filter((one) => one !== null);
      const value = chart.isSum ? known.reduce((sum, one) => sum + one, 0) : chart.isLeast && known.length ? Math.min(...known) : known.at(-1);
      return value === undefined ? "–" : chart.text(value);
    });
    head.querySelectorAll("b").forEach((node, at) => setText(node, texts[at]));
    setText(area.querySelector("small"), chart.end(top));
    const graph = area.querySelector("svg");
    graph.setAttribute("aria-label", `${chart.title}: ${texts.join(", ")}`);
    graph.replaceChildren(...rows.map((row, which) => svg("polyline", {
      class: which ? "second" : "first",
      points: row.map((value, at) => (value === null ? null : `${300 - (row.length - 1 - at)},${58 - 54 * value / top}`)).filter((one) => one).join(" "),
    })));
  });
}

function drawAlarms() {
  const line = told.line;
  const alarms = told.alarms;
  const isDry = Boolean(line && line.arming_possible && !line.armed);
  const key = JSON.stringify([alarms, isDry]);
  if ($("alarms").dataset.key === key) return;
  $("alarms").dataset.key = key;
  const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
  $("alarms").replaceChildren(...alarms.map((alarm) => make("article", { className: "alarm" },
    make("h2", {}, `ALARM: ${alarm.name.replaceAll("_", " ")}`), make("p", { className: "effect" }, sentence(alarm.effect) + (isDry && alarm.failsafe === "reject" ? " But this is a dry run: no valve is driven." : "")),
    make("p", {}, alarm.wrong), make("p", { className: "fix" }, make("span", {}, "What to do: "), alarm.fix),
    make("p", { className: "note" }, `On since ${clock(alarm.since)}. Measured: ${alarm.measured}.`))));
}

function drawHealth() {
  const line = told.line;
  if (!line) return;
  const key = JSON.stringify(line.cameras.map((camera) => [camera.state, camera.frames, camera.age_s]));
  if ($("cameras").dataset.key !== key) {
    $("cameras").dataset.key = key;
    $("cameras").replaceChildren(...line.cameras.map((camera) => {
      const old = camera.age_s !== null && camera.age_s > told.stale_after_s && camera.state !== "idle";
      const kind = camera.state === "stalled" || old ? "bad" : camera.state === "ok" ? "good" : "wait";
      const lost = Object.entries(camera.lost).map(([cause, count]) => `${count} lost (${cause.replaceAll("_", " ")})`).join(", ");
      const age = camera.age_s === null ? "no picture yet" : old ? `last picture ${camera.age_s.toFixed(1)} s ago` : "";
      return make("li", { className: kind }, make("b", {}, camera.planes.join(" + ")), make("b", {}, old ? "stalled" : camera.state),
        make("span", {}, [`${number(camera.frames)} pictures`, lost, age, camera.id].filter((part) => part).join(", ")));
    }));
  }
  const machine = line.machine;
  const throttled = machine.throttled || [];
  const hot = throttled.filter((text) => text.includes(" now"));
  const failing = line.sinks.filter((sink) => sink.state !== "ok" && sink.state !== "starting");
  fill($("machine"), {
    temperature: machine.temperature_c === null ? "not known here" : `${machine.temperature_c.toFixed(0)} °C`,
    throttling: machine.throttled === null ? "not known here" : throttled.join(", ") || "none",
    load: machine.load_average_1min.toFixed(1),
    frames: `${number(line.frames.judged)} judged of ${number(line.frames.processed)}, ${number(line.frames.dropped)} dropped, ${number(line.frames.lost)} lost`,
    outputs: failing.map((sink) => `${sink.kind} ${sink.state}: ${sink.reason || ""}`).join("; ") || "all work",
    service: `${line.version}, up ${span(line.uptime_s)}`,
  }, { throttling: hot.length, outputs: failing.length });
  const model = line.model;
  const rejects = line.rejects;
  const judgedRejects = (rejects.scheduled || 0) + (rejects.late || 0);
  const rollout = told.rollout || {};
  const trial = rollout.trouble ? rollout.trouble : rollout.trial ? `${rollout.trial} is on trial, ${rollout.attempts_left} starts left`
    : rollout.active ? `${rollout.active} is committed, none on trial` : "no store: a fixed model";
  fill($("model"), {
    model: `${model.name} ${model.version} (${model.sha256.slice(0, 8)})`,
    "operating point": `${model.point}: ${model.promise}`,
    thresholds: `clean below ${percent(model.accept, 2)}, pit from ${percent(model.reject, 2)}`,
    update: trial,
    reload: line.reloading ? "under way" : line.reload,
    "air jet": line.arming_possible ? (line.armed ? `armed by ${line.armed_by}` : "dry run: no valve is driven") : "this board drives no valve",
    rejects: line.arming_possible ? `${number(judgedRejects)} due, ${line.armed ? "" : "now none is fired, "}${number(rejects.late || 0)} too late, ${number(rejects.skipped || 0)} skipped` : null,
    "less safe": line.less_safe.join("; ") || null,
  }, { rejects: rejects.late > 0, "less safe": line.less_safe.length });
  setText($("jet"), line.arming_possible ? (line.armed ? "ARMED" : "DRY RUN: NO REJECTS") : "NO VALVES");
  $("jet").className = "pill " + (!line.arming_possible ? "rest" : line.armed ? "good" : "wait");
}

function drawState() {
  const silentMs = performance.now() - heardAt;
  let headline = told ? told.headline : { kind: "wait", text: "CONNECTING" };
  let stale = told ? told.stale : null;
  if (isShut) {
    headline = { kind: "wait", text: "NO ACCESS" };
    stale = null;
  } else if (isCut || silentMs > SILENT_MS) {
    headline = { kind: "bad", text: "NO CONTACT" };
    stale = { why: "No contact with the board", age_s: silentMs / 1000 };
  } else if (stale) {
    stale = { why: stale.why, age_s: stale.age_s + silentMs / 1000 };
  } else if (told && picture && !isHeld && headline.text !== "BELT STOPPED") {
    const ageMs = told.clock_ms + silentMs - picture.atMs;
    const oldMs = Math.max(OLD_MS, 1000 * told.stale_after_s);
    if (ageMs > oldMs) stale = { why: "No new picture comes", age_s: ageMs / 1000 };
  }
  document.body.classList.toggle("shut", isShut);
  setText($("headline"), headline.text);
  $("headline").className = `pill ${headline.kind}`;
  $("stale").hidden = !stale;
  $("strip").classList.toggle("old", Boolean(stale));
  if (stale) setText($("stale"), `${stale.why}: the picture is ${stale.age_s.toFixed(0)} s old`);
  document.title = `${headline.text} – pitcore`;
}

function takeNow(event) {
  heardAt = performance.now();
  isCut = false;
  told = JSON.parse(event.data);
  if (told.point && (!points.length || JSON.stringify(points.at(-1)) !== JSON.stringify(told.point))) {
    points.push(told.point);
    points = points.slice(-300);
  }
  const minute = told.counts.minute;
  const all = minute.lanes.flat().reduce((a, b) => a + b, 0);
  setText($("rate").firstElementChild, minute.span_s >= 1 ? number(all * 60 / minute.span_s) : "–");
  drawState();
  drawAlarms();
  drawCounts();
  drawCharts();
  drawHealth();
  drawLast();
  if (!$("controls").children.length && me.role) drawControls();
}

function takeSetup(event) {
  heardAt = performance.now();
  isShut = false;
  setup = JSON.parse(event.data);
  points = setup.points;
  last.clear();
  setText($("board"), setup.board);
  listShifts();
}

// The actions of a role. Every action that can move air takes two steps.
async function send(path, body = {}, method = "POST") {
  const answer = await fetch(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const said = await answer.json();
  if (answer.status === 401) askWhoIAm().catch(() => {}); // the token was revoked, or the session is over
  setText($("answer"), answer.ok ? "" : said.error);
  $("answer").className = answer.ok ? "" : "bad-text";
  return answer.ok ? said : null;
}

function twoSteps(text, sure, deed) {
  const button = make("button", { type: "button" }, text);
  let timer = 0;
  const rest = () => {
    clearTimeout(timer);
    button.className = "";
    setText(button, text);
  };
  button.onclick = async () => {
    if (button.className === "strong") {
      rest();
      await deed();
    } else {
      button.className = "strong";
      setText(button, sure);
      timer = setTimeout(rest, 8000);
    }
  };
  return button;
}

function drawControls() {
  const rank = ["viewer", "operator", "engineer"].indexOf(me.role);
  $("controls").hidden = rank < 1;
  $("login").hidden = me.role !== null;
  $("login-why").hidden = me.role !== null || me.open;
  $("who").replaceChildren(...(me.role === null ? [] : [`${me.name}, ${me.role} `, make("button", { type: "button", onclick: logOut }, "Log out")]));
  if (rank < 1 || !told || !told.line) return;
  const rows = [make("div", { className: "row" },
    twoSteps("Arm the air jet", "Yes, air may fire", async () => (await send("do/arm")) && setText($("answer"), "Armed.")),
    make("button", { type: "button", onclick: async () => (await send("do/disarm")) && setText($("answer"), "Dry run: no valve is driven.") }, "Disarm"))];
  if (rank >= 2) {
    const points = make("select", { id: "point" }, ...told.line.points.map((name) => make("option", { value: name, selected: name === told.line.model.point }, name)));
    rows.push(make("div", { className: "row" }, make("label", { htmlFor: "point" }, "Operating point"), points,
      twoSteps("Use it", "Yes, judge by it", async () => {
        setText($("answer"), "The model is loaded again …");
        const said = await send("do/point", { point: points.value });
        if (said) setText($("answer"), `${said.point}: ${said.promise}`);
      })));
    const lanes = make("select", { id: "valve" }, ...Array.from({ length: told.line.valves }, (_, at) => make("option", { value: at + 1 }, `lane ${at + 1}`)));
    if (told.line.valves) rows.push(make("div", { className: "row" }, make("label", { htmlFor: "valve" }, "Test a valve (belt stopped, dry run)"), lanes, testButton(lanes)));
  }
  $("controls").replaceChildren(...rows);
}

function testButton(lanes) {
  const button = make("button", { type: "button" }, "Prepare");
  let ready = null;
  const rest = () => {
    ready = null;
    button.className = "";
    setText(button, "Prepare");
  };
  lanes.onchange = rest;
  button.onclick = async () => {
    if (ready) {
      const { code } = ready;
      rest();
      const said = await send("do/test-valve", { code });
      if (said) setText($("answer"), `The valve of lane ${said.lane} was opened for a tenth of a second.`);
      return;
    }
    ready = await send("do/test-valve", { lane: Number(lanes.value) });
    if (!ready) return;
    button.className = "strong";
    setText(button, `Open lane ${ready.lane} now`);
    setTimeout(rest, 1000 * ready.ready_s);
  };
  return button;
}

async function logOut() {
  me = (await send("session", {}, "DELETE")) || me;
  drawControls();
  if (!me.open) connect(); // which is refused, and takes the page away
}

async function askWhoIAm() {
  const answer = await fetch("session");
  if (answer.ok) me = await answer.json();
  $("operate").hidden = false;
  drawControls();
}

$("login").onsubmit = async (event) => {
  event.preventDefault();
  const token = $("token").value;
  $("token").value = "";
  const said = await send("session", { token });
  if (!said) return;
  me = said;
  drawControls();
  connect();
};

async function listShifts() {
  if (isShut) return;
  const answer = await fetch("shifts");
  if (!answer.ok) return;
  const shifts = await answer.json();
  $("past").hidden = !shifts.length;
  const pit = told ? told.verdicts.indexOf("pit") : 0;
  $("shifts").replaceChildren(...shifts.map((shift) => {
    const all = shift.total.reduce((a, b) => a + b, 0);
    return make("li", {}, make("a", { href: `shifts/${shift.id}` }, `${shift.name}, ${shift.start.slice(0, 16).replace("T", " ")}`),
      ` ${number(all)} cherries, ${all ? percent(shift.total[pit] / all) : "–"} pits, `, make("a", { href: `shifts/${shift.id}.csv` }, "CSV"));
  }));
}

let source = null;
function connect() {
  if (source) source.close();
  source = new EventSource("events");
  source.addEventListener("setup", takeSetup);
  source.addEventListener("now", takeNow);
  source.addEventListener("picture", takePicture);
  source.onerror = () => {
    isCut = true;
    if (source.readyState === EventSource.CLOSED) findWhy(source).catch(() => {});
  };
}

async function findWhy(refused) { // the board answered, but sends no events, and the browser does not try again
  try {
    await askWhoIAm();
    isShut = !me.open && me.role === null;
    if (isShut && $("cherry").open) $("cherry").close();
  } finally {
    if (!isShut) setTimeout(() => source === refused && connect(), RETRY_MS);
  }
}

function begin() {
  setText($("chosen"), HINT);
  const style = getComputedStyle(document.documentElement);
  for (const verdict of Object.keys(SIGNS)) COLOURS[verdict] = style.getPropertyValue(`--${verdict}`).trim();
  $("legend").replaceChildren(...Object.entries(SIGNS).map(([verdict, shape]) => make("li", { className: verdict, title: shape }, sign(verdict), verdict)));
  connect();
  askWhoIAm().catch(() => {});
  for (const input of document.querySelectorAll("input[name=span]")) input.onchange = () => told && drawCounts();
  setInterval(drawState, 250);
  setInterval(() => listShifts().catch(() => {}), 60000);
}

begin();
