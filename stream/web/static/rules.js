// Rules: what may be listed and where, what each rule changes in one list, items with their availability,
// and the experiment that runs.

import { ask, by, count, fixed, make, mark, moment, named, nameOf, say, version } from "./element.js";

const AGAIN_MS = 10_000;
const SEARCH_WAIT_MS = 200;
const PLAIN = "published on the topic";
let searched = 0;
let drawn = "";

export function start() {
  by("trial").addEventListener("submit", (event) => {
    event.preventDefault();
    tryRules();
  });
  let waiting;
  by("item-search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(findItems, SEARCH_WAIT_MS);
  });
  setInterval(() => { if (!by("view-rules").hidden) read(); }, AGAIN_MS);
}

export function show() {
  read();
  findItems();
}

function note(id, text, bad) {
  say(by(id), text);
  mark(by(id), "state", bad ? "bad" : null);
}

async function read() {
  try {
    const [held, status] = await Promise.all([ask("/api/rules"), ask("/api/status").catch(() => null)]);
    note("rules-note", held.version ? "" : "There is no file of rules (NEXTCLICK_RULES): this is what holds without one.");
    const text = JSON.stringify([held, status?.experiment, status?.items, status?.purchases]);
    if (text === drawn) return;
    drawn = text;
    drawRules(held, status);
    say(by("experiment-empty"), status ? "None is announced: the champion serves every session." : "Not shown: the worker’s status was not given.");
    drawExperiment(status?.experiment);
  } catch (problem) {
    note("rules-note", problem.message, true);
    drawn = "";
  }
}

const pair = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
const rows = (rules) => make("ul", { class: "plain" }, ...rules.map((rule) => make("li", {}, make("code", {}, rule.rule), " ", make("bdi", {}, rule.text))));

function drawRules(held, status) {
  const facts = [];
  if (held.version) facts.push(pair("version", held.version));
  if (held.refused) facts.push(pair("refused", count(held.refused)));
  if (status?.items) facts.push(pair("items not listed", `${count(status.items.unlisted)} of ${count(status.items.known)}`));
  if (status?.purchases) facts.push(pair("users with purchases", count(status.purchases.users)));
  by("rules-facts").replaceChildren(...facts);
  by("held").replaceChildren(rows(held.rules));
  const shared = new Set(held.rules.map((rule) => rule.rule + rule.text));
  by("placements").replaceChildren(
    ...(held.placements.length ? held.placements.map((one) => {
      const own = one.rules.filter((rule) => !shared.has(rule.rule + rule.text));
      const has = new Set(one.rules.map((rule) => rule.rule + rule.text));
      const not = held.rules.filter((rule) => !has.has(rule.rule + rule.text));
      return make("details", {},
        make("summary", {}, make("strong", {}, one.name), make("span", {}, `${one.length} items from ${{ session: "the session", similar: "what is similar to its newest item", popular: "popular items" }[one.source]}`), one.category ? make("bdi", {}, `in ${one.category}`) : null, one.published ? make("span", {}, "published after every event") : null),
        own.length ? rows(own) : make("p", { class: "note" }, "No rules of its own: the file’s hold."),
        not.length ? make("p", { class: "note" }, `In the place of: ${not.map((rule) => rule.rule).join(", ")}`) : null);
    }) : [make("p", { class: "empty" }, "The rules name no placement.")]),
  );
  const chosen = by("trial-placement").value;
  const tried = held.placements.filter((one) => one.source !== "similar");
  by("trial-placement").replaceChildren(make("option", { value: "" }, PLAIN), ...tried.map((one) => make("option", { value: one.name, selected: one.name === chosen }, one.name)));
}

function drawExperiment(one) {
  by("experiment-empty").hidden = Boolean(one);
  const sheet = by("experiment");
  sheet.replaceChildren();
  if (!one) return;
  const champion = one.mode === "split" ? 1 - one.share : null;
  const lines = [
    ["experiment", one.experiment],
    ["served here", one.served ? "yes" : "no: another champion serves, or the challenger cannot be loaded"],
    ["how", one.mode === "split" ? "each session by one of the two" : `lists of ${fixed(100 * one.share, 1)} % of sessions drafted from both`],
    ["champion", version(one.champion) + (champion === null ? "" : `, ${fixed(100 * champion, 1)} % of sessions`)],
    ["challenger", version(one.challenger) + (one.mode === "split" ? `, ${fixed(100 * one.share, 1)} % of sessions` : "")],
  ];
  for (const [name, value] of lines) sheet.append(make("dt", {}, name), make("dd", {}, make("bdi", {}, value)));
}

async function tryRules() {
  const query = new URLSearchParams();
  const session = by("trial-session").value.trim();
  const items = by("trial-items").value.split(",").map((item) => item.trim()).filter(Boolean);
  if (Boolean(session) === Boolean(items.length)) {
    note("trial-note", "Give a session, or items separated by commas.", true);
    return;
  }
  if (session) query.append("session", session);
  for (const item of items) query.append("item", item);
  for (const [name, id] of [["placement", "trial-placement"], ["about", "trial-about"]]) {
    const value = by(id).value.trim();
    if (value) query.append(name, value);
  }
  note("trial-note", "Trying…");
  try {
    drawTrial(await ask(`/api/tries?${query}`));
  } catch (problem) {
    by("tried").replaceChildren();
    note("trial-note", problem.message.replace(/^./, (letter) => letter.toUpperCase()), true);
  }
}

const change = (word, kind, rows) => (rows.length ? make("p", { class: "change" }, make("span", { class: "tag", data: { tag: kind } }, word), ...rows.map((row) => make("bdi", {}, `${nameOf(row)} (${row.place})`))) : null);

function drawTrial(found) {
  note("trial-note", found.fallback ? `Popular items: ${found.fallback.replaceAll("_", " ")}.` : "");
  const cards = [];
  if (found.about) cards.push(about(found.about));
  const changed = found.without.filter((one) => !one.same);
  const others = found.without.filter((one) => one.same);
  cards.push(make("section", { class: "part" }, make("h3", {}, "What each rule changes, with places"),
    ...changed.map((one) => make("div", { class: "rule" },
      make("p", {}, make("span", {}, "without "), make("code", {}, one.rule), " ", make("bdi", {}, one.text)),
      change("would be in", "accepted", one.more), change("would be out", "refused", one.less),
      one.more.length || one.less.length ? null : make("p", { class: "note" }, "The same items in another order."))),
    changed.length ? null : make("p", { class: "empty" }, "No rule changes this list."),
    others.length ? make("p", { class: "note" }, `Change nothing here: ${others.map((one) => one.rule).join(", ")}`) : null));
  cards.push(make("section", { class: "part" }, make("h3", {}, "The list"), make("ol", { class: "ranked" }, ...found.items.map((item) => make("li", {}, named(item), make("span", { class: "value" }, fixed(item.score, 3)))))));
  by("tried").replaceChildren(...cards);
}

function about(one) {
  const text = one.place ? `It is in the list, at place ${one.place}.` : null;
  return make("section", { class: "part" }, make("h3", {}, "Why ", make("bdi", {}, nameOf(one)), one.place ? " is there" : " is missing"),
    text ? make("p", {}, text) : make("ul", { class: "plain" }, ...one.reasons.map((reason) => make("li", {}, reason.rule ? make("code", {}, reason.rule) : null, reason.rule ? " " : null, make("bdi", {}, reason.text)))));
}

async function findItems() {
  const mine = ++searched;
  try {
    const found = await ask(`/api/items?${new URLSearchParams({ q: by("item-search").value, limit: "30" })}`);
    if (mine !== searched) return;
    say(by("item-found"), found.items.length ? `${found.items.length} shown of ${count(found.catalogue)}` : `nothing in ${count(found.catalogue)} items`);
    by("items-table").replaceChildren(table(found.items));
  } catch (problem) {
    if (mine === searched) say(by("item-found"), problem.message);
  }
}

function availability(item) {
  if (item.kept_out_by.length) return item.kept_out_by.join("; ");
  const word = item.word;
  if (!word) return "nothing is said of it";
  const until = word.available_until_ms ? ` until ${moment(word.available_until_ms)}` : "";
  const place = [word.brand, word.category].filter(Boolean).join(", ");
  return `available${until}${place && `; ${place}`}`;
}

function table(items) {
  const head = ["item", "may be listed", "", "events", "price"];
  return make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((name, place) => make("th", { scope: "col", class: place < 3 ? "text" : null }, name || make("span", { class: "hidden" }, "why"))))),
    make("tbody", {}, ...items.map((item) => make("tr", {},
      make("th", { scope: "row", class: "text wide" }, named(item)),
      make("td", { class: "text" }, make("span", { class: "tag", data: { tag: item.unlisted ? "refused" : "accepted" } }, item.unlisted ? "no" : "yes")),
      make("td", { class: "text wide" }, make("bdi", {}, availability(item))),
      make("td", {}, count(item.events)),
      make("td", {}, fixed(item.word?.price ?? item.price ?? null, 2))))));
}
