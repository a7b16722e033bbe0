// The page: views by hash, the theme, the stream of seconds, and what is wrong if something is.

import { by, clock, count, mark, say } from "./element.js";
import * as tryIt from "./try.js";

const SILENCE_MS = 4_000;
const AGAIN_MS = 1_500;
// A page that nobody sees costs the worker nothing.
const HIDDEN_MS = 60_000;
const VIEWS = ["try", "live", "sessions", "models", "rules"];
const views = { try: tryIt };
const THEMES = ["system", "light", "dark"];
let shown = "try";
let now = null;
let heard = 0;
let source = null;
let hidden = null;

async function show() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  shown = VIEWS.includes(name) ? name : "try";
  for (const view of VIEWS) {
    by(`view-${view}`).hidden = view !== shown;
    const link = document.querySelector(`nav [data-view=${view}]`);
    if (view === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = shown === "try" ? "nextclick" : `nextclick · ${document.querySelector(`nav [data-view=${shown}]`).textContent}`;
  const wanted = shown;
  if (!views[wanted]) {
    views[wanted] = await import(`./${wanted}.js`);
    await views[wanted].start();
    if (now) views[wanted].live?.(now, true);
  }
  views[wanted].show?.(decodeURIComponent(rest.join("/")));
}

function connect() {
  source?.close();
  source = new EventSource("/api/stream");
  source.onmessage = (message) => {
    const again = now === null || performance.now() - heard > SILENCE_MS;
    heard = performance.now();
    now = JSON.parse(message.data);
    tell();
    for (const view of Object.values(views)) view.live?.(now, again);
  };
  source.onerror = () => {
    tell();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
  };
}

function state() {
  if (!now || performance.now() - heard > SILENCE_MS)
    return heard || performance.now() > SILENCE_MS
      ? { state: "bad", word: "no answer", text: "The worker does not answer: it is starting, or away. The page goes on by itself when it is back." }
      : { state: "wait", word: "connecting" };
  const broker = now.broker;
  if (broker && !broker.reachable)
    return { state: "bad", word: "Kafka is away", text: `Kafka has not answered since ${clock(broker.since_ms)}. Nothing is lost: events wait in their topic, and lists go on when it is back.` };
  const recovering = Object.entries(now.recovering);
  if (recovering.length) {
    const [done, total] = recovering.reduce(([a, b], [, part]) => [a + part.done, b + part.total], [0, 0]);
    return { state: "warn", word: "recovering", part: total ? done / total : 0, text: `Recovering the sessions of partition ${recovering.map(([number]) => number).join(", ")}: ${count(done)} of ${count(total)} events read.` };
  }
  if (!now.model) return { state: "warn", word: "no model", text: "No model serves yet. Train one with `nextclick train`, then promote it." };
  if (!now.ready) return { state: "warn", word: "starting", text: "The worker is starting: it waits for its partitions." };
  if (now.level) return { state: "warn", word: "behind", text: `${count(now.lag)} events wait. Until they are fewer, only a session's newest event gets a list${now.level > 1 ? ", and that is the popular one" : ""}.` };
  return { state: "good", word: "serving" };
}

function tell() {
  const { state: kind, word, text, part } = state();
  say(by("state"), word);
  mark(by("state"), "state", kind);
  const notice = by("notice");
  say(notice.firstElementChild, text || "");
  mark(notice, "state", kind);
  notice.hidden = !text;
  const bar = notice.lastElementChild;
  bar.hidden = part === undefined;
  if (part !== undefined) bar.value = part;
}

function theme(next) {
  const root = document.documentElement;
  const chosen = root.dataset.theme || "system";
  const wanted = next ? THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length] : chosen;
  mark(root, "theme", wanted === "system" ? null : wanted);
  say(by("theme"), `Theme: ${wanted}`);
  try {
    if (next) localStorage.setItem("theme", wanted);
  } catch {
    // Then it holds for this page alone.
  }
  for (const view of Object.values(views)) view.themed?.();
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(() => { source.close(); source = null; }, HIDDEN_MS);
  else if (!source) connect();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(false));
by("theme").addEventListener("click", () => theme(true));
window.addEventListener("hashchange", show);
setInterval(tell, 1_000);
theme(false);
tryIt.start();
connect();
show();
