// Models: the registry's versions with their scores, and what the gate decided. Read-only.

import { ask, by, count, fixed, make, mark, moment, say, version } from "./element.js";

const AGAIN_MS = 10_000;
let serving = null;
let shadow = null;
let drawn = "";

export function start() {
  setInterval(() => { if (!by("view-models").hidden) read(); }, AGAIN_MS);
}

export const show = () => read();

export function live(now) {
  const [serves, shadows] = [now.model?.version ?? null, now.shadow?.version ?? null];
  if ((serves !== serving || shadows !== shadow) && !by("view-models").hidden) read();
  [serving, shadow] = [serves, shadows];
}

async function read() {
  try {
    const found = await ask("/api/models");
    const text = JSON.stringify(found);
    // Drawn anew only when something is new, so that an opened report stays open.
    if (text === drawn) return;
    drawn = text;
    draw(found);
  } catch (problem) {
    say(by("models-note"), problem.message);
    mark(by("models-note"), "state", "bad");
    drawn = "";
  }
}

const tag = (name, text = name) => make("span", { class: "tag", data: { tag: name } }, text);

function draw(found) {
  const all = found.versions.length + found.more;
  say(by("registry"), `${count(all)} version${all === 1 ? "" : "s"}${found.more ? `, the newest ${found.versions.length} shown` : ""}`);
  const refused = found.refused.map((one) => one.error).join(" ");
  say(by("models-note"), refused || (found.versions.length ? "" : "The registry is empty. Train a first version with `nextclick train`."));
  mark(by("models-note"), "state", refused ? "bad" : null);
  const head = ["version", "network", "items", "Recall@20", "MRR@20", "POP's Recall@20", "trained on", "events until", ""];
  const rows = found.versions.map((one) => {
    const own = one.scores.evaluation || {};
    const pop = one.scores.pop || {};
    return make("tr", {},
      make("th", { scope: "row", class: "text", title: one.version }, version(one.version)),
      make("td", { class: "text" }, one.network),
      make("td", {}, count(one.items)),
      make("td", {}, fixed(own.recall ?? null, 4)),
      make("td", {}, fixed(own.mrr ?? null, 4)),
      make("td", {}, fixed(pop.recall ?? null, 4)),
      make("td", {}, one.data.events ? `${count(one.data.events)} events` : "–"),
      make("td", {}, moment(one.data.last_event_time_ms)),
      make("td", { class: "text" }, one.serving ? tag("serves") : null, one.champion ? tag("champion") : null, one.shadow ? tag("shadow", "in the shadow") : null),
    );
  });
  by("versions").replaceChildren(...(rows.length ? [make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name, place) => make("th", { scope: "col", class: [0, 1, 8].includes(place) ? "text" : null }, name || make("span", { class: "hidden" }, "role"))))), make("tbody", {}, ...rows))] : []));
  drawSources(found.sources);
  by("runs").replaceChildren(...(found.runs.length ? found.runs.map(run) : [make("p", { class: "empty" }, "No retraining has run with this registry.")]));
}

function drawSources(sources) {
  by("sources-card").hidden = !sources.length;
  const head = ["source", "events", "Recall@20", "MRR@20"];
  const rows = sources.map((one) => make("tr", {},
    make("th", { scope: "row", class: "text" }, one.source === "list" ? make("strong", {}, "the list") : one.source),
    make("td", {}, count(one.events)),
    make("td", {}, fixed(one.recall_at_20, 4)),
    make("td", {}, fixed(one.mrr_at_20, 4)),
  ));
  by("sources").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name, place) => make("th", { scope: "col", class: place ? null : "text" }, name)))), make("tbody", {}, ...rows)));
}

function run(one) {
  const decision = one.decision;
  const summary = make("summary", {}, tag(one.outcome), make("span", {}, one.run), make("span", { class: "id" }, one.version ? version(one.version) : ""));
  const lines = [...(one.error || []), ...(decision?.reasons || []), ...(decision?.notes || [])].filter(Boolean);
  const body = [];
  if (lines.length) body.push(make("ul", {}, ...lines.map((line) => make("li", {}, line))));
  if (decision?.standings?.length) {
    const band = (interval) => `${fixed(interval.mean, 4)} (${fixed(interval.low, 4)} to ${fixed(interval.high, 4)})`;
    const lead = (interval) => (interval ? `${interval.mean < 0 ? "−" : "+"}${Math.abs(interval.mean).toFixed(4)}` : "–");
    body.push(make("div", { class: "scroll", role: "region", "aria-label": `Standings of ${one.run}`, tabindex: "0" }, make("table", {},
      make("thead", {}, make("tr", {}, ...["", "Recall@20, 95 %", "MRR@20, 95 %", "lead in Recall@20", "ms/step"].map((name, place) => make("th", { scope: "col", class: place ? null : "text" }, name || make("span", { class: "hidden" }, "who"))))),
      make("tbody", {}, ...decision.standings.map((row) => make("tr", {}, make("th", { scope: "row", class: "text" }, row.name), make("td", {}, band(row.recall)), make("td", {}, band(row.mrr)), make("td", {}, lead(row.recall_lead)), make("td", {}, fixed(row.step_ms, 3))))))));
    body.push(make("p", { class: "note" }, `${count(decision.targets)} next events of ${count(decision.sessions)} sessions, held out.`));
  }
  if (!body.length) body.push(make("p", { class: "empty" }, "No decision was written."));
  return make("details", {}, summary, ...body);
}
