// A chart that the server drew, made one that can be zoomed, read out by keyboard, and that grows with its run.
/* global uPlot */

const HEIGHT_PX = 320;
const REFRESH_MS = 300;
const dark = matchMedia("(prefers-color-scheme: dark)");

const ink = () => getComputedStyle(document.body).color;
const paper = () => getComputedStyle(document.body).backgroundColor;
const shown = (value) => (value == null ? "-" : Number(value.toPrecision(6)).toString());

/** Draw what was claimed, and the bands of lines, under the lines. */
function underlay(data) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const x = (value) => plot.valToPos(value, "x", true);
    const y = (value, end) => (value == null ? end : plot.valToPos(value, "y", true));
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const box of data.boxes) {
      const top = y(box.y[1], bbox.top);
      const bottom = y(box.y[0], bbox.top + bbox.height);
      ctx.fillStyle = "rgba(247, 225, 160, 0.55)";
      ctx.strokeStyle = "#B8860B";
      ctx.fillRect(x(box.x[0]), top, x(box.x[1]) - x(box.x[0]), bottom - top);
      ctx.strokeRect(x(box.x[0]), top, x(box.x[1]) - x(box.x[0]), bottom - top);
    }
    data.lines.forEach((line, at) => {
      if (!line.low || !line.high || plot.series[at + 1].show === false) return;
      band(ctx, line, x, y);
    });
    ctx.fillStyle = ink();
    ctx.strokeStyle = ink();
    ctx.setLineDash([3, 4]);
    ctx.lineWidth = devicePixelRatio;
    ctx.textBaseline = "alphabetic";
    for (const level of data.levels) {
      ctx.beginPath();
      ctx.moveTo(bbox.left, y(level.y));
      ctx.lineTo(bbox.left + bbox.width, y(level.y));
      ctx.stroke();
      ctx.textAlign = "right";
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      // Above its line, or below it where the frame ends.
      const high = y(level.y) - bbox.top < 16 * devicePixelRatio;
      const place = [bbox.left + bbox.width - 6, y(level.y) + (high ? 14 : -5) * devicePixelRatio];
      ctx.save();
      ctx.setLineDash([]);
      ctx.lineWidth = 3 * devicePixelRatio;
      ctx.lineJoin = "round";
      ctx.strokeStyle = paper();
      ctx.strokeText(level.label, ...place);
      ctx.restore();
      ctx.fillText(level.label, ...place);
    }
    ctx.restore();
  };
}

function band(ctx, line, x, y) {
  const there = line.x.map((_, i) => i).filter((i) => line.low[i] != null && line.high[i] != null);
  ctx.fillStyle = `${line.colour}26`;
  ctx.strokeStyle = line.colour;
  ctx.beginPath();
  if (there.length === 1) {
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.moveTo(x(line.x[there[0]]), y(line.low[there[0]]));
    ctx.lineTo(x(line.x[there[0]]), y(line.high[there[0]]));
    ctx.stroke();
    return;
  }
  there.forEach((i) => ctx.lineTo(x(line.x[i]), y(line.high[i])));
  there.reverse().forEach((i) => ctx.lineTo(x(line.x[i]), y(line.low[i])));
  ctx.fill();
}

function aligned(data) {
  if (!data.lines.length) return [[], []];
  return uPlot.join(data.lines.map((line) => [line.x, line.y]));
}

function range(data) {
  const ys = [];
  for (const line of data.lines) for (const column of [line.y, line.low, line.high]) if (column) ys.push(column);
  let low = Infinity;
  let high = -Infinity;
  const take = (value) => {
    if (value == null) return;
    low = Math.min(low, value);
    high = Math.max(high, value);
  };
  for (const column of ys) for (const value of column) take(value);
  for (const box of data.boxes) box.y.forEach(take);
  for (const level of data.levels) take(level.y);
  if (low > high) return [0, 1];
  const room = 0.06 * (high - low || Math.abs(high) || 1);
  return [low - room, high + room];
}

/** The ends of the x axis: those of the lines, and of what was claimed. */
function places(data, low, high) {
  const ends = data.boxes.flatMap((box) => box.x);
  return [Math.min(low ?? Infinity, ...ends), Math.max(high ?? -Infinity, ...ends)];
}

/** How a line's mark in the legend tells its dash, so that colour is not alone. */
function border(line) {
  if (!line || !line.dash.length) return "solid";
  return line.dash[0] > 4 ? "dashed" : "dotted";
}

/** The places of the lines that share an entry of the legend with the line at `at`. */
function peers(data, at) {
  return data.lines.flatMap((line, i) => (line.group === data.lines[at].group && line.faint === data.lines[at].faint ? [i] : []));
}

/** What the legend says of a line at the cursor: its value, or from where to where its group's values go. */
function said(data, plot, at, index) {
  if (index == null) return "-";
  const values = peers(data, at).map((i) => plot.data[i + 1][index]).filter((value) => value != null);
  if (!values.length) return "-";
  const [low, high] = [Math.min(...values), Math.max(...values)].map(shown);
  return low === high ? low : `${low} to ${high}`;
}

/** Show and hide a group together, by its one entry in the legend. */
function together(data) {
  return (plot, series, options) => {
    if (series == null || options.show === undefined) return;
    for (const at of peers(data, series - 1)) {
      if (plot.series[at + 1].show !== options.show) plot.setSeries(at + 1, { show: options.show });
    }
  };
}

function options(data, width) {
  const axis = { stroke: ink, grid: { stroke: "rgba(128, 128, 128, 0.2)" }, ticks: { stroke: "rgba(128, 128, 128, 0.4)" } };
  return {
    width,
    height: HEIGHT_PX,
    scales: { x: { time: false, range: (plot, low, high) => (plot.zoomed ? [low, high] : places(data, low, high)) }, y: { range: (plot, low, high) => (plot.zoomed ? [low, high] : data.frame || range(data)) } },
    axes: [
      { ...axis, label: data.x_label, labelSize: 22 },
      { ...axis, label: data.y_label, labelSize: 22, size: 64 },
    ],
    series: [
      { label: data.x_label, value: (_, value) => shown(value) },
      ...data.lines.map((line, at) => ({
        label: line.group,
        stroke: line.faint ? `${line.colour}59` : line.colour,
        width: line.faint ? 1 : 1.5,
        dash: line.dash.length ? line.dash : undefined,
        spanGaps: true,
        points: { show: line.dots || line.x.length === 1, size: 6 },
        value: (plot, _, __, index) => said(data, plot, at, index),
      })),
    ],
    legend: { markers: { dash: (_, i) => border(data.lines[i - 1]) } },
    hooks: { drawAxes: [underlay(data)], setSeries: [together(data)] },
    cursor: { drag: { x: true, y: false } },
  };
}

/** Let the arrow keys move the cursor, and say where it is. */
function readable(holder, readout, now) {
  let at = -1;
  holder.tabIndex = 0;
  holder.setAttribute("role", "application");
  holder.addEventListener("keydown", (event) => {
    const plot = now();
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || !plot) return;
    event.preventDefault();
    const [x, ...ys] = plot.data;
    at = Math.max(0, Math.min(x.length - 1, step === Infinity ? x.length - 1 : step === -Infinity ? 0 : at + step));
    plot.setCursor({ left: plot.valToPos(x[at], "x"), top: 10 });
    const values = ys.map((y, i) => [plot.names[i], y[at]]).filter(([, value]) => value != null);
    readout.textContent = `${plot.series[0].label} ${shown(x[at])}: ${values.map(([name, v]) => `${name} ${shown(v)}`).join(", ")}`;
  });
}

/** Take over one figure; returns what reads its data again. */
export function upgrade(figure) {
  const holder = figure.querySelector(".plot");
  const caption = figure.querySelector(".caption");
  const readout = document.createElement("p");
  readout.className = "readout";
  readout.setAttribute("aria-live", "polite");
  holder.after(readout);
  let plot = null;
  let shape = "";
  let busy = false;
  let again = false;
  readable(holder, readout, () => plot);

  function draw(data) {
    const next = JSON.stringify([data.lines.map((line) => line.label), data.x_label, data.y_label, dark.matches]);
    figure.dataset.points = String(data.lines.reduce((n, line) => n + line.x.length, 0));
    figure.dataset.last = String(data.lines.reduce((x, line) => Math.max(x, line.x.at(-1) ?? 0), 0));
    caption.textContent = data.caption;
    if (!data.lines.length) return;
    holder.setAttribute("aria-label", `${data.title}. Arrow keys read it out; its table is below.`);
    if (plot && next === shape) {
      plot.hooks.drawAxes = [underlay(data)];
      plot.hooks.setSeries = [together(data)];
      plot.scales.y.range = (self, low, high) => (self.zoomed ? [low, high] : data.frame || range(data));
      plot.setData(aligned(data), !plot.zoomed);
      return;
    }
    shape = next;
    plot?.destroy();
    holder.replaceChildren();
    plot = new uPlot(options(data, holder.clientWidth || 600), aligned(data), holder);
    plot.names = data.lines.map((line) => line.label);
    const entries = plot.root.querySelectorAll(".u-legend .u-series");
    data.lines.forEach((_, at) => (entries[at + 1].hidden = peers(data, at)[0] !== at));
    plot.over.addEventListener("dblclick", () => (plot.zoomed = false));
    plot.over.addEventListener("mouseup", () => (plot.zoomed = plot.select.width > 0 || plot.zoomed));
  }

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(figure.dataset.chart);
      if (answer.ok) {
        const data = await answer.json();
        // What is still being read is asked for again.
        again = again || data.partial;
        draw(data);
      }
    } catch {
      // The server is away; what is drawn stays.
    }
    setTimeout(() => {
      busy = false;
      if (again) {
        again = false;
        refresh();
      }
    }, REFRESH_MS);
  }

  // What the page brought along is drawn at once; what is still being read is asked for again.
  const held = figure.querySelector("template[data-held]");
  if (held) {
    const data = JSON.parse(held.content.textContent);
    held.remove();
    draw(data);
    if (data.partial) setTimeout(refresh, REFRESH_MS);
  } else {
    refresh();
  }

  new ResizeObserver(() => {
    if (plot && holder.clientWidth && holder.clientWidth !== plot.width) {
      plot.setSize({ width: holder.clientWidth, height: HEIGHT_PX });
    }
  }).observe(holder);
  dark.addEventListener("change", refresh);
  return { refresh };
}
