// Sessions: look one up, its recent items, its age, the list it was shown last, what its state is near to.

import { ago, ask, by, count, fixed, keyed, make, mark, moment, named, say, version } from "./element.js";

let seen = [];

export function start() {
  by("look").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = `#sessions/${encodeURIComponent(by("session").value)}`;
    if (location.hash === wanted) look(by("session").value);
    else location.hash = wanted;
  });
}

export function show(id) {
  if (!id) return;
  by("session").value = id;
  look(id);
}

export function live(now) {
  if (by("view-sessions").hidden) return;
  for (const shown of now.newest) if (!seen.includes(shown.session_id)) seen.unshift(shown.session_id);
  seen = seen.slice(0, 8);
  if (by("seen").matches(":hover, :focus-within")) return;
  keyed(by("seen"), seen.length ? ["seen just now:", ...seen] : [], (id) => id,
    (id) => (id === "seen just now:" ? make("span", {}, id) : make("a", { href: `#sessions/${encodeURIComponent(id)}` }, make("bdi", {}, id))));
}

function note(text, bad) {
  say(by("session-note"), text);
  mark(by("session-note"), "state", bad ? "bad" : null);
}

async function look(id) {
  note("Looking…");
  try {
    const found = await ask(`/api/sessions/${encodeURIComponent(id)}`);
    note("");
    draw(found);
  } catch (problem) {
    by("found-session").replaceChildren();
    const text = problem.message.replace(/^./, (letter) => letter.toUpperCase());
    note(/[.!?]$/.test(text) ? text : `${text}.`, true);
  }
}

const card = (title, ...parts) => make("section", { class: "card" }, make("header", {}, make("h2", {}, title)), ...parts);
const ranked = (items, value) => make("ol", { class: "ranked" }, ...items.map((item) => make("li", {}, named(item), make("span", { class: "value" }, value(item)))));
const empty = (text) => make("p", { class: "empty" }, text);

function draw(found) {
  const sheet = make("dl", { class: "sheet" });
  const pairs = [
    ["session", make("bdi", {}, found.session_id)],
    ["state", found.open ? "open: the next event goes on with it" : "over: the next event begins a new one"],
    ["events", count(found.position)],
    ["last event", moment(found.last_event_time_ms)],
    ["silent for", `${ago(found.age_s)} of event time`],
    ["partition", String(found.partition)],
    ["state of version", version(found.model_version)],
  ];
  for (const [name, value] of pairs) sheet.append(make("dt", {}, name), make("dd", {}, value));
  const items = [...found.items].reverse();
  const cards = [
    card("State", sheet),
    card(`Recent items, newest first`, items.length ? ranked(items, () => "") : empty("None.")),
    card("The list it was shown last", found.list ? ranked(found.list.items, (item) => fixed(item.score, 3)) : empty("None since the worker started: it is computed again with the next event.")),
  ];
  if (found.nearest) cards.push(card("Its state is near to", found.nearest.length ? ranked(found.nearest, (item) => fixed(item.similarity, 3)) : empty("Nothing yet.")));
  by("found-session").replaceChildren(...cards);
}
