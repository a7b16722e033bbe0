// Which click caused which item: asked once a list, shown on hover and on focus.

import { ask, by, make, mark, nameOf, say } from "./element.js";

const IDLE = "Point at an item, or move to it with Tab, to see which click caused it.";

const ordinal = (rank) => {
  const tens = rank % 100;
  const ending = tens > 10 && tens < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[rank % 10] || "th";
  return `${rank.toLocaleString("en")}${ending}`;
};

export class Why {
  constructor() {
    this.clear();
  }

  // A list was shown after these clicks (the session's items in order).
  expect(clicks, list, version) {
    this.clicks = clicks;
    this.list = list;
    this.version = version;
    this.asked = null;
    this.idle();
  }

  clear(text = "Choose an item, and see what would come next.") {
    this.clicks = [];
    this.list = [];
    this.asked = null;
    this.tell(text);
    this.light(null, null);
  }

  idle() {
    this.pointed = null;
    if (this.clicks.length) this.tell(IDLE);
    this.light(null, null);
  }

  async point(itemId) {
    if (!this.clicks.length) return;
    this.pointed = itemId;
    let found;
    try {
      found = await this.find();
    } catch (problem) {
      if (this.pointed === itemId) this.tell(problem.message);
      return;
    }
    if (this.pointed !== itemId) return;
    this.show(found, itemId);
  }

  find() {
    if (!this.asked) {
      const query = new URLSearchParams(this.clicks.map((item) => ["item", item.item_id]));
      const asked = ask(`/api/why?${query}`);
      this.asked = asked;
      // The next pointing asks again.
      asked.catch(() => { if (this.asked === asked) this.asked = null; });
    }
    return this.asked;
  }

  show(found, itemId) {
    const place = found.items.find((item) => item.item_id === itemId);
    const listed = this.list.find((item) => item.item_id === itemId);
    if (found.model_version !== this.version || !place) {
      this.tell("Another version serves now: the next click shows its list, and why.");
      this.light(null, null);
      return;
    }
    const name = make("strong", {}, make("bdi", {}, nameOf(listed || place)));
    const sources = place.sources.length ? ` Reasons: ${place.sources.map((one) => one.text).join("; ")}.` : "";
    if (this.clicks.length === 1) {
      this.tell(name, ` follows from the only click so far.${sources}`);
      this.light(0, found);
      return;
    }
    if (place.cause === null) {
      this.tell(name, ` would be no lower without any one of the clicks: several of them speak for it.${sources}`);
      this.light(null, null);
      return;
    }
    const cause = make("strong", {}, make("bdi", {}, nameOf(this.clicks[place.cause])));
    const rank = place.ranks_without[place.cause];
    const there = rank === null ? `behind the ${ordinal(found.depth)} place` : `${ordinal(rank)}`;
    this.tell(name, ` is ${ordinal(place.rank)} because of `, cause, ` (click ${place.cause + 1}). Without it: ${there}.${sources}`);
    this.light(place.cause, found);
  }

  // Mark a click, and the items it caused.
  light(cause, found) {
    for (const [index, click] of [...by("clicks").children].entries()) mark(click, "cause", index === cause ? "yes" : null);
    const caused = new Set(cause === null || !found ? [] : found.items.filter((item) => item.cause === cause).map((item) => item.item_id));
    for (const row of by("list").children) mark(row, "caused", caused.has(row.dataset.key) ? "yes" : null);
  }

  tell(...parts) {
    const why = by("why");
    mark(why, "cause", parts.length > 3 ? "yes" : null);
    const text = parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
    if (why.textContent !== text) why.replaceChildren(...parts);
  }
}
