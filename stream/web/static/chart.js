// One chart of the newest ten minutes: lines with their bands, a legend with the newest values in words.
// Axes begin at 0 and show what was measured; what is not known is a gap.

import { keyed, make, say } from "./element.js";

const SPAN_S = 600;
const LEAST_S = 120;
let loading = null;

export function library() {
  loading ??= new Promise((resolve, reject) => {
    document.head.append(make("link", { rel: "stylesheet", href: "/page/uPlot.min.css" }));
    document.head.append(make("script", { src: "/page/uPlot.iife.min.js", onload: () => resolve(), onerror: () => reject(new Error("The charts did not load.")) }));
  });
  return loading;
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// series: {key, name, color, dash?, band?}; its values are columns[key], with band also key_low and key_high.
export class Chart {
  constructor(parent, { title, explain, series, format, top = 0 }) {
    this.series = series;
    this.format = format;
    this.top = top;
    this.plot = make("div", { class: "plot", "aria-hidden": "true" });
    this.legend = make("ul", { class: "legend" });
    this.explain = make("p", {}, explain);
    this.figure = make("figure", { class: "card chart" }, make("figcaption", {}, make("h2", {}, title), this.explain), this.plot, this.legend);
    parent.append(this.figure);
    this.swaps = [];
    this.build();
    new ResizeObserver(() => this.resize()).observe(this.plot);
  }

  build() {
    this.chart?.destroy();
    const axis = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: this.font(), size: 26 };
    const lines = [{}];
    const bands = [];
    for (const one of this.series) {
      const stroke = color(one.color);
      if (one.band) {
        bands.push({ series: [lines.length, lines.length + 1], fill: `${stroke}26` });
        lines.push({ show: true, width: 0, stroke, points: { show: false } }, { width: 0, stroke, points: { show: false } });
      }
      // Where values stand alone there is no line: a point each.
      const points = one.points ? { show: true, size: 4, width: 0, fill: stroke } : { show: false };
      lines.push({ stroke, width: one.thin ? 1.25 : 2, dash: one.dash, points, spanGaps: false });
    }
    const size = this.size();
    this.chart = new uPlot(
      {
        ...size, legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0], bands, series: lines,
        scales: { x: { time: true, range: (_, low, high) => [Math.max(high - SPAN_S, Math.min(low, high - LEAST_S)), high] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, this.top) || 1] } },
        axes: [
          { ...axis, space: 70, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString("en-GB").slice(0, splits[1] - splits[0] < 60 ? 8 : 5)) },
          { ...axis, size: this.wide(), space: 32, values: (_, splits) => splits.map((value) => this.format(value, true)) },
        ],
        hooks: { draw: [(chart) => this.drawSwaps(chart)] },
      },
      this.data || lines.map(() => []),
      this.plot,
    );
  }

  font() {
    return `${Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.74)}px system-ui, sans-serif`;
  }

  wide() {
    return Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 3.2);
  }

  size() {
    return { width: Math.max(120, this.plot.clientWidth), height: Math.max(120, this.plot.clientHeight) };
  }

  resize() {
    const size = this.size();
    if (size.width !== this.chart.width || size.height !== this.chart.height) this.chart.setSize(size);
  }

  // Where another version came into service.
  drawSwaps(chart) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.strokeStyle = color("soft");
    ctx.setLineDash([2, 4]);
    for (const swap of this.swaps.slice(1)) {
      const x = chart.valToPos(swap.at_ms / 1000, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  draw(columns, swaps) {
    this.swaps = swaps;
    const at = columns.at_ms.map((time) => time / 1000);
    const column = (name) => columns[name] || at.map(() => null);
    const data = [at];
    const values = [];
    for (const one of this.series) {
      const line = column(one.key);
      if (one.band) data.push(column(`${one.key}_high`), column(`${one.key}_low`));
      data.push(line);
      values.push({ ...one, value: line.at(-1) ?? null, low: one.band ? column(`${one.key}_low`).at(-1) : null, high: one.band ? column(`${one.key}_high`).at(-1) : null });
    }
    this.data = data;
    this.chart.setData(data);
    keyed(this.legend, values.filter((one) => one.value !== null || !one.optional), (one) => one.key, (one) => this.entry(one), (item, one) => {
      const [, , value, band] = item.children;
      say(value, this.format(one.value));
      say(band, one.low === null || one.low === undefined ? "" : `${this.format(one.low)} to ${this.format(one.high)}`);
    });
  }

  entry(one) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 26 8");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", "M0 4H26");
    line.setAttribute("stroke", `var(--${one.color})`);
    line.setAttribute("stroke-width", "3");
    if (one.dash) line.setAttribute("stroke-dasharray", one.dash.join(" "));
    svg.append(line);
    return make("li", {}, svg, make("span", {}, one.name), make("b"), make("span", { class: "band" }));
  }
}
