// Live: quality with its bands, rate, delay and lag, versions, and the newest lists as they come.

import { ask, by, clock, compact, count, fixed, keyed, make, moment, ms, nameOf, say, version } from "./element.js";
import { Chart, library } from "./chart.js";

const POINTS = 600;
let columns = null;
let charts = [];
let paused = false;

const share = (value, axis) => fixed(value, axis ? 2 : 3);
const SYSTEMS = (measure) => [
  { key: `${measure}_champion`, name: "champion", color: "champion", band: true },
  { key: `${measure}_pop`, name: "POP", color: "pop", band: true, dash: [6, 4] },
  { key: `${measure}_window_pop`, name: "POP of the last hour", color: "hour", thin: true, dash: [2, 3] },
  { key: `${measure}_shadow`, name: "shadow", color: "shadow", band: true, dash: [10, 3], optional: true },
];

export async function start() {
  try {
    await library();
  } catch (problem) {
    by("charts").append(make("p", { class: "empty" }, problem.message));
    return;
  }
  const parent = by("charts");
  charts = [
    new Chart(parent, { title: "Recall@20", explain: "", series: SYSTEMS("recall"), format: share, top: 0.1 }),
    new Chart(parent, { title: "MRR@20", explain: "", series: SYSTEMS("mrr"), format: share, top: 0.05 }),
    new Chart(parent, { title: "Events per second", explain: "With a durable list, and records that wait to be read.", series: [{ key: "events_per_s", name: "events/s", color: "champion" }, { key: "lag", name: "lag, records", color: "pop", dash: [6, 4] }], format: compact, top: 10 }),
    new Chart(parent, { title: "Delay of lists", explain: "From an event's reading to its durable list, the oldest of each wave; milliseconds.", series: [{ key: "delay_p50", name: "p50", color: "champion", points: true }, { key: "delay_p95", name: "p95", color: "hour", dash: [6, 4], points: true }, { key: "delay_p99", name: "p99", color: "pop", dash: [2, 3], points: true }], format: (value, axis) => (axis ? compact(value) : ms(value)), top: 10 }),
  ];
  by("pause").addEventListener("click", () => {
    paused = !paused;
    by("pause").setAttribute("aria-pressed", String(paused));
    say(by("pause"), paused ? "Go on" : "Pause");
  });
  await fetchHistory();
}

async function fetchHistory() {
  columns = await ask("/api/live/history").catch(() => null);
}

export async function live(now, again) {
  if (again && columns) await fetchHistory();
  if (columns?.at_ms) add(now);
  else await fetchHistory();
  if (by("view-live").hidden) return;
  draw(now);
}

// The point of a second, as the worker keeps it too.
function add(now) {
  if (columns.at_ms.at(-1) >= now.at_ms) return;
  const point = { at_ms: now.at_ms, events_per_s: now.events_per_s, lag: now.lag };
  for (const [name, value] of Object.entries(now.delay_ms)) point[`delay_${name}`] = value;
  for (const system of ["champion", "pop", "window_pop", "shadow"]) {
    const found = system === "shadow" ? now.shadow : now.quality[system];
    for (const measure of ["recall", "mrr"]) {
      const values = found ? found[`${measure}_at_20`] : [null, null, null];
      ["", "_low", "_high"].forEach((end, place) => { point[`${measure}_${system}${end}`] = values[place]; });
    }
  }
  for (const [name, column] of Object.entries(columns)) {
    column.push(point[name] ?? null);
    if (column.length > POINTS) column.shift();
  }
}

export function themed() {
  for (const chart of charts) chart.build();
}

const day = (at) => new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

// What the version has learned is scored apart: its figure flatters, and no chart draws it.
function learned({ learned_until_ms, quality: { champion } }, measure, name) {
  if (learned_until_ms === null) return "May hold events that the version has learned: its manifest does not say. ";
  if (!champion.events) return "";
  return `Not shown: in-sample ${name} ${share(champion[measure][0])} of ${count(champion.events)} events up to ${moment(learned_until_ms)}, which the version has learned. `;
}

let last = null;
export function show() {
  if (last) requestAnimationFrame(() => { for (const chart of charts) chart.resize(); draw(last); });
}

function draw(now) {
  last = now;
  const { champion, pop } = now.quality;
  const lead = champion.recall_at_20[0] !== null && pop.recall_at_20[0] !== null ? champion.recall_at_20[0] - pop.recall_at_20[0] : null;
  tiles([
    ["events per second", compact(now.events_per_s), `${count(now.lists)} lists so far`],
    ["delay, p95", ms(now.delay_ms.p95), "reading to durable list"],
    ["lag", compact(now.lag), "records wait"],
    ["open sessions", compact(now.sessions), `${now.partitions.length} of ${now.partitions_total} partitions here`],
    ["Recall@20", share(champion.recall_at_20[0]), lead === null ? "no event scored yet" : `POP ${share(pop.recall_at_20[0])}, lead ${lead < 0 ? "−" : "+"}${Math.abs(lead).toFixed(3)}`],
    ["event time", now.event_time_ms ? day(now.event_time_ms) : "–", now.event_time_ms ? moment(now.event_time_ms) : "no event yet"],
  ]);
  for (const [place, chart] of charts.entries()) {
    if (place < 2) say(chart.explain, `${learned(now.in_sample, place ? "mrr_at_20" : "recall_at_20", place ? "MRR@20" : "Recall@20")}Newest ${count(Math.min(now.quality_window, champion.events))} scored events; 95 % bands by session.`);
    if (columns?.at_ms) chart.draw(columns, now.swaps);
  }
  keyed(by("swaps"), [...now.swaps].reverse().slice(0, 8), (swap) => swap.at_ms,
    (swap) => make("li", {}, make("time", { datetime: new Date(swap.at_ms).toISOString() }, clock(swap.at_ms)), make("span", { title: swap.version }, version(swap.version)), make("span", { class: "id" }, swap.event_time_ms ? `at event time ${moment(swap.event_time_ms)}` : "")));
  const a = now.accounting;
  say(by("account"), `read ${count(a.read)}${a.lost ? ` + lost ${count(a.lost)}` : ""} = stepped ${count(a.stepped)} + duplicate ${count(a.duplicate)} + unknown ${count(a.unknown)} + ended ${count(a.ended)}${a.left_out ? ` + left out ${count(a.left_out)}` : ""} + dead-lettered ${count(a.dead_lettered)} + in flight ${count(a.in_flight)}${a.lost ? ` + lost ${count(a.lost)}` : ""}${a.holds || a.in_flight ? "" : ": broken"}`);
  by("newest-empty").hidden = now.newest.length > 0;
  if (!paused) keyed(by("newest"), now.newest, (shown) => shown.event_id, newest);
}

function tiles(rows) {
  keyed(by("tiles"), rows, ([name]) => name,
    ([name]) => make("div", {}, make("dt", {}, name), make("dd"), make("dd", { class: "more" })),
    (tile, [, value, more]) => { say(tile.children[1], value); say(tile.children[2], more); });
}

function newest(shown) {
  const next = make("p", { class: "next" }, "→ ");
  shown.items.slice(0, 3).forEach((item, place) => next.append(place ? " · " : "", make("bdi", {}, nameOf(item))));
  return make("li", {},
    make("p", { class: "after" }, make("a", { href: `#sessions/${encodeURIComponent(shown.session_id)}` }, make("bdi", {}, shown.session_id)), make("span", {}, `event ${shown.position} · ${ms(shown.delay_ms)}`)),
    make("p", { class: "clicked" }, make("bdi", {}, nameOf(shown))), next);
}
