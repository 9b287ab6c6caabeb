"use strict";

// The drawing of a stack's windows along one axis: a row of places for each layer, the pixels below, and the paths to each pixel as bars.
const WINDOWS = { left: 52, band: 46, box: 16, bars: 120 };

// What a drawing shows: the stack, how many places each layer has, and the pixels from `first` on.
function windowsPart(stack, sizes, first, pixels, width) {
  const cell = (width - WINDOWS.left) / pixels;
  const lines = spots(stack);
  const x = (pixel) => WINDOWS.left + (pixel - first) * cell;
  const y = (layer) => 6 + (stack.length - layer) * WINDOWS.band;
  // The places of a layer that reach into the part that is shown.
  const places = (layer) => {
    const { spacing, offset } = lines[layer];
    const reach = layer ? stack.slice(0, layer).reduceRight((span, stage) => (span - 1) * stage.stride + 1 + (stage.kernel - 1) * stage.dilation, 1) : 1;
    const from = Math.max(0, Math.ceil((first - offset - reach / 2) / spacing));
    const to = Math.min(sizes[layer] - 1, Math.floor((first + pixels - 1 - offset + reach / 2) / spacing));
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, number) => from + number);
  };
  const middle = (layer, place) => x(lines[layer].offset + lines[layer].spacing * place + 0.5);
  const half = (layer) => Math.min(lines[layer].spacing * cell * 0.46, layer ? 15 : cell);
  const low = y(0) + WINDOWS.box + 48;
  return { stack, sizes, first, pixels, width, cell, lines, x, y, places, middle, half, low, height: low + WINDOWS.bars + 8 };
}

// The layer and place at a point of the drawing; null beside them.
function windowsAt(part, left, top) {
  const layer = Math.min(part.stack.length, Math.max(0, Math.round((part.y(0) - top + WINDOWS.box / 2) / WINDOWS.band)));
  const { spacing, offset } = part.lines[layer];
  const place = Math.round(((left - WINDOWS.left) / part.cell + part.first - 0.5 - offset) / spacing);
  return part.places(layer).includes(place) ? { layer, place } : null;
}

// By layer the places that belong to one: all that it reads, and for a pixel all that read it.
function windowsOf(part, { layer, place }) {
  const found = part.stack.map(() => new Set());
  found.push(new Set());
  found[layer].add(place);
  const inside = (level) => (one) => one >= 0 && one < part.sizes[level];
  for (let below = layer - 1; below >= 0; below--) {
    for (const one of found[below + 1]) readBy(part.stack[below], one).filter(inside(below)).forEach((read) => found[below].add(read));
  }
  for (let above = 1; layer === 0 && above <= part.stack.length; above++) {
    for (const one of found[above - 1]) readersOf(part.stack[above - 1], one).filter(inside(above)).forEach((reader) => found[above].add(reader));
  }
  return found;
}

// Draws the part. counts: paths to each shown pixel; sofar: of those so far, while windows slide; active: from windowsOf; colour: of a count.
function drawWindows(svg, part, counts, sofar, active, colour) {
  svg.setAttribute("viewBox", `0 0 ${part.width} ${part.height}`);
  svg.setAttribute("height", part.height);
  svg.replaceChildren();
  const add = (into, name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    into.append(made);
    return made;
  };
  const clip = add(add(svg, "defs", {}), "clipPath", { id: "windows-shown" });
  add(clip, "rect", { x: WINDOWS.left, y: 0, width: part.width - WINDOWS.left, height: part.height });
  const inside = () => add(svg, "g", { "clip-path": "url(#windows-shown)" });
  const [windows, links, places] = [inside(), inside(), inside()];
  const mark = (layer, place) => (active && active[layer].has(place) ? " active" : "");
  const name = (text, at) => add(svg, "text", { class: "row", x: 0, y: at }, text);

  for (let layer = part.stack.length; layer > 0; layer--) {
    const half = part.half(layer);
    const [top, bottom] = [part.y(layer) + WINDOWS.box, part.y(layer - 1)];
    const reach = layer === 1 ? part.cell / 2 : part.half(layer - 1);
    for (const place of part.places(layer)) {
      const centre = part.middle(layer, place);
      const read = readBy(part.stack[layer - 1], place);
      const followed = active && active[layer].has(place) ? read.filter((below) => active[layer - 1].has(below)) : [];
      const [from, to] = [read[0], read.at(-1)].map((below) => part.middle(layer - 1, below));
      add(windows, "path", {
        class: `window${followed.length ? " active" : ""}`,
        d: `M${centre - half} ${top} H${centre + half} L${to + reach} ${bottom} H${from - reach} Z`,
      });
      for (const below of followed) add(links, "path", { class: "link", d: `M${centre} ${top} L${part.middle(layer - 1, below)} ${bottom}` });
      add(places, "rect", { class: `place${mark(layer, place)}`, "data-at": `${layer}:${place}`, x: centre - half, y: part.y(layer), width: 2 * half, height: WINDOWS.box, rx: 3 });
      if (2 * half >= 7 * String(place).length) add(places, "text", { class: `number${mark(layer, place)}`, x: centre, y: part.y(layer) + WINDOWS.box / 2 }, place);
    }
    name(`layer ${layer}`, part.y(layer) + WINDOWS.box / 2);
  }
  name("pixels", part.y(0) + WINDOWS.box / 2);
  name("paths to each pixel", part.low - 12);
  drawBars(svg, part, counts, sofar, mark, colour, add);
}

// The pixels with their numbers, and a bar on each for its paths, beside an axis.
function drawBars(svg, part, counts, sofar, mark, colour, add) {
  const { low } = part;
  const most = Math.max(1, ...counts);
  const step = Math.max(1, Math.ceil(most / 4));
  for (let count = 0; count <= most; count += step) {
    const at = low + WINDOWS.bars * (1 - count / most);
    add(svg, "path", { class: "tick", d: `M${WINDOWS.left - 4} ${at} H${part.width}` });
    add(svg, "text", { class: "axis", x: WINDOWS.left - 8, y: at }, count);
  }
  const bars = add(svg, "g", { id: "bars", transform: `translate(0 ${low})` });
  const apart = [1, 2, 4, 8, 16].find((every) => part.cell * every >= 3 + 7 * String(part.first + part.pixels).length) ?? 32;
  (sofar ?? counts).forEach((count, number) => {
    const pixel = part.first + number;
    const column = { x: part.x(pixel) + 0.5, width: part.cell - 1 };
    const tall = (count / most) * WINDOWS.bars;
    add(bars, "rect", { ...column, class: mark(0, pixel), y: WINDOWS.bars - tall, height: tall });
    if (sofar) add(bars, "path", { d: `M${column.x} ${WINDOWS.bars * (1 - counts[number] / most)} h${column.width}` });
    add(svg, "rect", { ...column, class: `pixel${mark(0, pixel)}`, "data-at": `0:${pixel}`, y: part.y(0), height: WINDOWS.box, fill: colour(counts[number] / most) });
    if (pixel % apart) return;
    add(svg, "text", { class: `number${mark(0, pixel)}`, x: part.middle(0, pixel), y: part.y(0) + WINDOWS.box + 10 }, pixel);
  });
}

// Draws the counts of both axes multiplied, with frames of rows and columns. Returns the width beside them and the side of a pixel.
function drawPlane(canvas, { values, first }, frames, colour) {
  const ratio = Math.ceil(devicePixelRatio);
  const digits = String(first + values.length).length;
  const gutter = (10 + 8 * digits) * ratio;
  // Whole screen pixels for each cell: anything else would draw a grid of its own.
  const scale = Math.max(1, Math.floor((272 * ratio - gutter) / values.length));
  canvas.width = canvas.height = values.length * scale + gutter;
  canvas.style.width = `${canvas.width / ratio}px`;
  const context = canvas.getContext("2d");
  const most = Math.max(...values) ** 2 || 1;
  values.forEach((down, y) => values.forEach((across, x) => {
    context.fillStyle = colour((down * across) / most);
    context.fillRect(gutter + x * scale, y * scale, scale, scale);
  }));
  const style = getComputedStyle(canvas);
  context.fillStyle = style.getPropertyValue("--faint");
  context.font = `${12 * ratio}px ${style.fontFamily}`;
  context.textBaseline = "middle";
  const apart = [1, 2, 4, 8, 16].find((every) => scale * every >= (8 + 8 * digits) * ratio) ?? 32;
  values.forEach((_, number) => {
    if ((first + number) % apart) return;
    context.textAlign = "right";
    context.fillText(first + number, gutter - 5 * ratio, Math.max((number + 0.5) * scale, 7 * ratio));
    context.textAlign = "center";
    context.fillText(first + number, gutter + (number + 0.5) * scale, values.length * scale + 12 * ratio);
  });
  context.rect(gutter, 0, values.length * scale, values.length * scale);
  context.clip();
  for (const frame of frames) {
    const [[top, bottom], [left, right]] = frame.map((pixels) => [Math.min(...pixels) - first, Math.max(...pixels) - first + 1]);
    // A dark line around a bright one shows on every colour.
    for (const [colour, wide] of [["black", 4], ["#ff9d3b", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide * ratio;
      context.strokeRect(gutter + left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
    }
  }
  return { gutter: gutter / ratio, scale: scale / ratio };
}
