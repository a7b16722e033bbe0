// Try it: choose items as a visitor would. With events open each choice goes through Kafka and the
// list that comes back is the worker's own; without, the list is computed from the items chosen.

import { ask, by, count, facts, fixed, keyed, make, mark, ms, named, nameOf, say, version } from "./element.js";
import { Why } from "./why.js";

const SEARCH_WAIT_MS = 120;
const WARM_MS = 10_000;
const why = new Why();
let session, clicks, before, busy, ended, posts;
let events = null;
let asked = 0;
let warmed = -Infinity;

function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(5));
  session = `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  clicks = [];
  before = null;
  ended = false;
  posts = Promise.resolve();
  busy = 0;
  say(by("try-id"), session);
  note("");
  say(by("left"), "");
  keyed(by("list"), [], () => "");
  facts(by("list-facts"), []);
  why.clear();
  drawClicks();
  warmed = -Infinity;
  warm();
}

// The session's partition is looked for before a click, so that the click need not wait for that.
function warm() {
  if (!events || performance.now() - warmed < WARM_MS) return;
  warmed = performance.now();
  ask(`/api/recommendations/${encodeURIComponent(session)}?await=1`).catch(() => {});
}

function note(text, state) {
  say(by("try-note"), text);
  mark(by("try-note"), "state", state);
}

function drawClicks() {
  by("try-empty").hidden = clicks.length > 0;
  keyed(
    by("clicks"), clicks, (click) => click.number,
    (click) => make("li", { data: { ended: click.end ? "yes" : undefined } }, click.end ? make("span", {}, "session ended") : named(click), make("span", { class: "ms" })),
    (row, click) => say(row.lastElementChild, click.waits ? "…" : click.ms === null ? "" : ms(click.ms)),
  );
  const chosen = clicks.some((click) => !click.end);
  by("over").disabled = !clicks.length;
  by("end").disabled = !chosen || ended || !events;
  by("copy").disabled = !chosen;
}

const chosen = () => clicks.filter((click) => !click.end);

function choose(item) {
  // A visitor who comes back after the end begins anew.
  if (ended) newSession();
  const click = { ...item, number: clicks.length, waits: true, ms: null };
  clicks.push(click);
  drawClicks();
  // One after the other, so that they are in the topic in the order of the clicks.
  const of = session;
  posts = posts.then(() => step(of, click));
}

async function step(of, click) {
  const began = performance.now();
  const mine = () => of === session;
  try {
    const shown = events ? await post(of, click) : await compute(click);
    if (!mine()) return;
    click.waits = false;
    click.ms = performance.now() - began;
    if (shown) show(shown, click);
  } catch (problem) {
    if (!mine()) return;
    clicks.splice(clicks.indexOf(click), 1);
    clicks.forEach((other, number) => { other.number = number; });
    by("clicks").replaceChildren();
    note(`${problem.message} The click was taken back.`, "bad");
  }
  drawClicks();
}

async function post(of, click) {
  const { item_id, title, brand, category, price } = click;
  const event = { session_id: of, item_id };
  for (const [name, value] of Object.entries({ title, brand, category, price })) if (value !== null && value !== undefined) event[name] = value;
  const answer = await ask("/api/events", send(event));
  if (answer.list) {
    note(answer.list.fallback ? `A fallback list (${answer.list.fallback.replace("_", " ")}).` : "");
    return answer.list;
  }
  note("The event is in Kafka; its list has not come within 5 s. The worker is behind, or away.", "bad");
  return null;
}

async function compute(click) {
  const items = clicks.slice(0, click.number + 1);
  const found = await ask(`/api/why?${new URLSearchParams(items.map((item) => ["item", item.item_id]))}`);
  note("This worker takes no events by HTTP (web_events is off): lists are computed from the items, nothing is sent.");
  return { ...found, position: items.length };
}

const send = (event) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(event) });

function show(shown, click) {
  const list = by("list");
  const places = new Map([...list.children].map((row) => [row, row.getBoundingClientRect().top]));
  const scores = shown.items.map((item) => item.score);
  const floor = Math.min(0, ...scores);
  const span = Math.max(...scores) - floor || 1;
  const ranks = new Map((before || []).map((item, index) => [item.item_id, index + 1]));
  shown.items.forEach((item, index) => { item.rank = index + 1; });
  keyed(list, shown.items, (item) => item.item_id, row, (element, item) => {
    const [rank, move, , score] = element.firstElementChild.children;
    say(rank, String(item.rank));
    const was = ranks.get(item.item_id);
    const up = was === undefined ? null : was - item.rank;
    const moved = !before ? "" : up === null ? "new" : up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : "=";
    say(move, moved);
    mark(move, "move", !before ? null : up === null ? "new" : up > 0 ? "up" : up < 0 ? "down" : "same");
    say(score.lastElementChild, fixed(item.score, Math.abs(item.score) < 100 ? 3 : 0));
    score.firstElementChild.firstElementChild.style.setProperty("--part", (item.score - floor) / span);
  });
  glide(list, places);
  const listed = new Set(shown.items.map((item) => item.item_id));
  const left = (before || []).filter((item) => !listed.has(item.item_id));
  by("left").replaceChildren(...(left.length ? [make("span", {}, "Left the list:"), ...left.map((item) => make("bdi", {}, nameOf(item)))] : []));
  facts(by("list-facts"), [
    ["click to list", events ? ms(click.ms) : null],
    ["stepped in", shown.stepped_us ? ms(shown.stepped_us / 1000) : null],
    ["position", String(shown.position)],
    ["model", version(shown.model_version)],
    ["bars", floor < 0 ? "from the lowest score" : "from 0"],
  ]);
  before = shown.items;
  why.expect(chosen().slice(0, click.number + 1), shown.items, shown.model_version);
}

function row(item) {
  const title = named(item);
  const bar = make("span", { class: "score" }, make("span", { class: "bar-of", "aria-hidden": "true" }, make("i")), make("span"));
  const button = make(
    "button",
    { type: "button", "aria-describedby": "why", onclick: () => choose({ item_id: item.item_id, title: item.title }), onfocus: () => why.point(item.item_id), onpointerenter: () => why.point(item.item_id), onblur: () => why.idle(), onpointerleave: () => why.idle() },
    make("span", { class: "rank" }), make("span", { class: "move" }), title, bar,
  );
  return make("li", {}, button);
}

// Rows slide from where they were, so that the eye can follow what moved.
function glide(list, places) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const element of list.children) {
    const from = places.get(element);
    if (from === undefined) element.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 260 });
    else {
      const by = from - element.getBoundingClientRect().top;
      if (by) element.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 260, easing: "ease-out" });
    }
  }
}

async function search() {
  const mine = ++asked;
  const query = by("search").value;
  try {
    const found = await ask(`/api/items?${new URLSearchParams({ q: query, limit: "30" })}`);
    if (mine !== asked) return;
    keyed(by("results"), found.items, (item) => item.item_id, (item) =>
      make("li", {}, make("button", { type: "button", onclick: () => choose(item) }, named(item), make("span", { class: "count", title: item.unlisted ? "not available, or against a rule" : "events in the training data" }, item.unlisted ? "not listed" : count(item.events)))));
    const many = count(found.catalogue);
    say(by("found"), !found.items.length ? `nothing in ${many} items` : query.trim() ? `of ${many} items` : `most popular of ${many}`);
  } catch (problem) {
    if (mine === asked) say(by("found"), problem.message);
  }
}

async function copy() {
  const quoted = chosen().map((click) => `'${click.item_id.replaceAll("'", "'\\''")}'`);
  const command = `nextclick recommend --items ${quoted.join(" ")}`;
  try {
    await navigator.clipboard.writeText(command);
    note(`Copied: ${command}`);
  } catch {
    note(command);
  }
}

async function end() {
  const of = session;
  by("end").disabled = true;
  await posts;
  try {
    await ask("/api/events", send({ session_id: of, kind: "session_end" }));
    if (of !== session) return;
    ended = true;
    clicks.push({ number: clicks.length, end: true, ms: null });
    note("The session has ended; the next choice begins a new one.");
  } catch (problem) {
    note(problem.message, "bad");
  }
  drawClicks();
}

export function start() {
  newSession();
  let waiting;
  by("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, SEARCH_WAIT_MS);
  });
  by("search").addEventListener("keydown", (event) => {
    const first = by("results").querySelector("button");
    if (event.key === "ArrowDown" && first) {
      event.preventDefault();
      first.focus();
    }
  });
  by("results").addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = event.target.closest("li")[step];
    (to ? to.firstElementChild : by("search")).focus();
  });
  for (const area of [by("results"), by("list"), by("search")])
    for (const kind of ["pointerover", "focusin"]) area.addEventListener(kind, warm);
  by("over").addEventListener("click", newSession);
  by("end").addEventListener("click", end);
  by("copy").addEventListener("click", copy);
  search();
}

export function live(now, again) {
  const first = events === null;
  events = now.web_events;
  if (first) {
    drawClicks();
    warm();
  }
  if (again) search();
}
