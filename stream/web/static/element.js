// Elements and words of the page. Whatever comes from the data becomes text, never markup.

export const by = (id) => document.getElementById(id);

export function make(tag, fields = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "data") for (const [key, text] of Object.entries(value)) mark(element, key, text);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Only what changed is touched, so that nothing flickers and no screen reader is told twice.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) delete element.dataset[name];
  else if (element.dataset[name] !== String(value)) element.dataset[name] = value;
}

// Children by key, in this order: known ones are kept and moved, others made, the rest removed.
export function keyed(parent, rows, key, create, update = () => {}) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const row of rows) {
    const name = String(key(row));
    let child = known.get(name);
    if (child) known.delete(name);
    else {
      child = create(row);
      child.dataset.key = name;
    }
    update(child, row);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of known.values()) child.remove();
}

// Catalogues in capitals are read more easily without them.
export function readable(title) {
  if (title.length > 3 && title === title.toUpperCase() && title !== title.toLowerCase())
    return title[0] + title.slice(1).toLowerCase();
  return title;
}

export const nameOf = (item) => (item.title ? readable(item.title.trim()) || item.item_id : item.item_id);

export function named(item, tag = "span") {
  const shown = make("bdi", {}, nameOf(item));
  const parts = [make(tag, { class: "name", title: item.title || item.item_id }, shown)];
  if (item.title) parts[0].append(" ", make("bdi", { class: "id" }, item.item_id));
  return parts[0];
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(Math.round(value)));
export const compact = (value) =>
  value === null || value === undefined ? "–" : value < 10_000 ? count(value) : short.format(value);
export const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const ms = (value) =>
  value === null || value === undefined
    ? "–"
    : value < 10 ? `${value.toFixed(1)} ms` : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
export const moment = (at) => (at ? new Date(at).toISOString().slice(0, 19).replace("T", " ") + "Z" : "–");

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

// "20260101T120000000Z-1a2b3c4d" is long: its day, time and hash tell versions apart.
export function version(name) {
  const found = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d*Z-([0-9a-f]+)$/.exec(name || "");
  return found ? `${found[1]}-${found[2]}-${found[3]} ${found[4]}:${found[5]} ${found[6]}` : name || "–";
}

// JSON, or an Error whose words are the worker's own.
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Error("The worker does not answer.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const problem = new Error((body && body.error) || `The worker answered ${answer.status}.`);
    problem.status = answer.status;
    throw problem;
  }
  return body;
}

export function facts(element, pairs) {
  keyed(
    element,
    pairs.filter(([, value]) => value !== null),
    ([name]) => name,
    ([name]) => make("div", {}, make("dt", {}, name), make("dd")),
    (row, [, value]) => say(row.lastElementChild, value),
  );
}
