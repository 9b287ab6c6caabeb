"use strict";

// Pictures and their maps, several versions of each, moved and zoomed together, in whole screen pixels.
(() => {
  const ZOOMS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
  const SVG = "http://www.w3.org/2000/svg";
  const find = (id) => document.getElementById(id);
  const views = JSON.parse(find("views").textContent);
  const given = find("gradients").dataset;
  const [down, across] = JSON.parse(given.period);
  const period = Math.max(down, across);
  const sides = JSON.parse(given.sides);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  // Milliseconds that each side shows while both flicker: two changes a second, below what can harm.
  const TURN = 500;
  const [picturePane, mapPane] = [find("pane-picture"), find("pane-gradient")];
  const images = new Map();
  let view = views[0];
  // The panes of all versions, below the two large ones, where there are more than two.
  let sheet = [];
  // Of the two sides the one that fills the panes, by itself or in turns; null where the slider divides them.
  let alone = null;
  let turns = 0;
  // The picture's pixel in the middle of every pane.
  let centre = { x: 0, y: 0 };

  function image(url) {
    if (!images.has(url)) {
      const made = new Image();
      made.addEventListener("load", draw);
      made.src = url;
      images.set(url, made);
    }
    return images.get(url);
  }

  const zoom = () => ZOOMS[Number(find("zoom").value)];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const shown = () => [find("first"), find("second")].slice(0, view.versions.length).map((one) => view.versions[Number(one.value)]);
  const pictureOf = (version) => view.pictures[version.picture];
  const differ = () => view.pictures.length > 1;

  // Screen pixels for a pixel: the zoom times what lets the whole picture fit.
  function scale(canvas) {
    const fit = Math.floor(canvas.width / Math.max(view.width, view.height));
    return Math.max(1, fit) * zoom();
  }

  function corner(canvas) {
    const size = scale(canvas);
    const place = (middle, pixels) => {
      const spare = canvas.width - pixels * size;
      return spare >= 0 ? Math.floor(spare / 2) : clamp(Math.round(canvas.width / 2 - middle * size), spare, 0);
    };
    return { x: place(centre.x, view.width), y: place(centre.y, view.height), size };
  }

  function draw() {
    const chosen = alone === null ? shown() : [shown()[alone]];
    [...find("sides").children].forEach((line, side) => line.classList.toggle("away", alone !== null && alone !== side));
    drawPane(picturePane, chosen.map(pictureOf));
    drawPane(mapPane, chosen.map((version) => version.map));
    sheet.forEach((canvas, index) => drawPane(canvas, [differ() ? pictureOf(view.versions[index]) : view.versions[index].map]));
    find("zoom").nextElementSibling.textContent = `${zoom()} ×`;
    find("split").nextElementSibling.textContent = `${find("split").value} %`;
  }

  // As many pixels as the screen has there.
  function fit(canvas) {
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
    return side;
  }

  // One image, or two that the slider divides.
  function drawPane(canvas, [before, after]) {
    const side = fit(canvas);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, side, side);
    const { x, y, size } = corner(canvas);
    const put = (url) => {
      const source = image(url);
      if (source.complete && source.naturalWidth) context.drawImage(source, x, y, view.width * size, view.height * size);
    };
    put(before);
    if (after !== undefined && after !== before) drawAfter(context, side, () => put(after));
    if (find("grid").checked && period > 1 && size * Math.min(...[down, across].filter((pixels) => pixels > 1)) >= 24) drawGrid(context, x, y, size);
  }

  function drawAfter(context, side, put) {
    const edge = Math.round((Number(find("split").value) / 100) * side);
    context.save();
    context.beginPath();
    context.rect(edge, 0, side - edge, side);
    context.clip();
    context.clearRect(edge, 0, side - edge, side);
    put();
    context.restore();
    context.fillStyle = "#111111";
    context.fillRect(edge - 2, 0, 4, side);
    context.fillStyle = "#fff";
    context.fillRect(edge - 1, 0, 2, side);
  }

  function drawGrid(context, x, y, size) {
    const line = Math.max(1, Math.round(devicePixelRatio));
    // A dark line beside a light one shows on every ground.
    for (const [shift, colour] of [[0, "rgba(20, 20, 20, 0.7)"], [line, "rgba(255, 255, 255, 0.7)"]]) {
      context.fillStyle = colour;
      for (let pixel = (across - (view.left % across)) % across; across > 1 && pixel <= view.width; pixel += across) {
        context.fillRect(x + pixel * size + shift, y, line, view.height * size);
      }
      for (let pixel = (down - (view.top % down)) % down; down > 1 && pixel <= view.height; pixel += down) {
        context.fillRect(x, y + pixel * size + shift, view.width * size, line);
      }
    }
  }

  // Where about 24 pixels fill a pane: single phases show, and how they repeat.
  function nearZoom() {
    const whole = Math.max(1, Math.floor(fit(mapPane) / Math.max(view.width, view.height)));
    const away = ZOOMS.map((times) => Math.abs(Math.log(mapPane.width / (whole * times * 24))));
    return away.indexOf(Math.min(...away));
  }

  function stopFlicker() {
    clearInterval(turns);
    turns = 0;
    alone = null;
    find("flicker").setAttribute("aria-pressed", false);
  }

  // Both sides in turns until it is pressed again; where motion is not wanted each press shows the next by itself.
  function flicker() {
    if (turns || (still.matches && alone === 1)) stopFlicker();
    else {
      alone = alone === null ? 0 : 1;
      if (!still.matches) turns = setInterval(() => { alone = 1 - alone; draw(); }, TURN);
      find("flicker").setAttribute("aria-pressed", true);
    }
    draw();
  }

  // Keeps the middle where the picture fills the pane, so that the next step moves at once.
  function move(x, y) {
    const half = picturePane.width / 2 / scale(picturePane);
    const within = (middle, pixels) => (2 * half >= pixels ? pixels / 2 : clamp(middle, half, pixels - half));
    centre = { x: within(x, view.width), y: within(y, view.height) };
    draw();
  }

  function setZoom(step) {
    find("zoom").value = step;
    move(centre.x, centre.y);
    for (const canvas of [picturePane, mapPane, ...sheet]) {
      canvas.classList.toggle("movable", scale(canvas) * Math.max(view.width, view.height) > canvas.width);
    }
  }

  function element(name, attributes = {}, text = "") {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  }

  function show(index) {
    view = views[index];
    centre = { x: view.focus[1], y: view.focus[0] };
    fit(picturePane);
    stopFlicker();
    const count = view.versions.length;
    ["first", "second"].forEach((id, place) => {
      find(id).replaceChildren(...view.versions.map((version, number) => element("option", { value: number }, version.label)));
      find(id).value = clamp(JSON.parse(given.chosen)[place], 0, count - 1);
      find(id).parentElement.hidden = count < 3;
    });
    find("split-line").hidden = find("flicker").hidden = count < 2;
    sheet = count < 3 ? [] : view.versions.map((version) => handled(element("canvas", {
      class: "pane", role: "img", "aria-label": `${differ() ? "Picture" : "Map"}, ${version.label}`,
    })));
    find("sheet").replaceChildren(...sheet.map((canvas, number) => {
      const figure = element("figure");
      figure.append(element("figcaption", {}, view.versions[number].label), canvas);
      return figure;
    }));
    const [height, width] = view.whole;
    const part = width > view.width || height > view.height ? `; the middle ${view.height} × ${view.width} of it are shown` : "";
    find("place").textContent = `${height} × ${width} pixels${part}`;
    setZoom(nearZoom());
    choose();
  }

  function choose() {
    const labels = shown().map((version) => version.label);
    find("picture-caption").textContent = differ() ? labels.join(" | ") : "picture";
    find("map-caption").textContent = (given.map ? `${given.map}: ` : "") + labels.join(" | ");
    picturePane.setAttribute("aria-label", `Picture ${view.name}${differ() ? `: ${labels.join(", then ")}` : ""}`);
    mapPane.setAttribute("aria-label", `Map of ${view.name}: ${labels.join(", then ")}`);
    find("sides").replaceChildren(...labels.map((label) => {
      const line = element("div");
      if (sides.tiles[label]) {
        const tile = element("span", { class: "tile", role: "img", "aria-label": `Mean tile, ${label}` });
        // Whole screen pixels for each phase, and three periods along each axis.
        const phase = Math.max(1, Math.floor(96 / (3 * period)));
        Object.assign(tile.style, {
          backgroundImage: `url(${sides.tiles[label]})`,
          backgroundSize: `${across * phase}px ${down * phase}px`,
          width: `${3 * across * phase}px`,
          height: `${3 * down * phase}px`,
        });
        line.append(tile);
      }
      const text = element("p", {}, label);
      text.append(element("span", {}, sides.said[label] ?? ""), element("span", {}, sides.sizes[label] ?? ""));
      line.append(text);
      return line;
    }));
    find("spectra").replaceChildren(...shown().map(spectrumFigure));
    draw();
  }

  function spectrumFigure(version) {
    const figure = element("figure");
    const drawing = document.createElementNS(SVG, "svg");
    const add = (name, attributes) => {
      const made = document.createElementNS(SVG, name);
      Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
      drawing.append(made);
    };
    drawing.setAttribute("viewBox", "-0.53 -0.53 1.06 1.06");
    drawing.setAttribute("role", "img");
    drawing.setAttribute("aria-label", `Spectrum, ${version.label}`);
    add("image", { href: version.spectrum, x: -0.5, y: -0.5, width: 1, height: 1, preserveAspectRatio: "none" });
    const harmonics = (length) => {
      const places = [];
      for (let m = -Math.floor(length / 2); m <= length / 2; m++) places.push(m / length);
      return places;
    };
    if (period > 1 && period <= 8) {
      const radius = Math.min(0.022, 0.3 / period);
      for (const y of harmonics(down)) for (const x of harmonics(across)) if (x || y) add("circle", { cx: x, cy: y, r: radius });
    } else if (period > 1) {
      for (const place of harmonics(across)) add("path", { d: `M${place} .5 v.025 M${place} -.5 v-.025` });
      for (const place of harmonics(down)) add("path", { d: `M.5 ${place} h.025 M-.5 ${place} h-.025` });
    }
    figure.append(element("figcaption", {}, `spectrum, ${version.label}`), drawing);
    return figure;
  }

  function tell(canvas, event) {
    const ratio = canvas.width / canvas.clientWidth;
    const { x, y, size } = corner(canvas);
    const column = Math.floor((event.offsetX * ratio - x) / size);
    const row = Math.floor((event.offsetY * ratio - y) / size);
    if (row < 0 || column < 0 || row >= view.height || column >= view.width) return;
    const place = [row + view.top, column + view.left];
    const phase = `phase ${place[0] % down}, ${place[1] % across} of ${down === across ? down : `${down} x ${across}`}`;
    find("place").textContent = `row ${place[0]}, column ${place[1]}; ${phase}`;
  }

  // A pane that can be dragged and moved by keys.
  function handled(canvas) {
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (!canvas.classList.contains("movable")) return;
      held = { x: event.clientX, y: event.clientY, centre };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      tell(canvas, event);
      if (!held) return;
      const step = canvas.width / canvas.clientWidth / scale(canvas);
      move(held.centre.x - (event.clientX - held.x) * step, held.centre.y - (event.clientY - held.y) * step);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    canvas.addEventListener("keydown", (event) => {
      const step = Math.max(1, Math.round(canvas.width / scale(canvas) / 16));
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      const zooms = { "+": 1, "=": 1, "-": -1, 0: -ZOOMS.length };
      if (moves[event.key]) move(centre.x + moves[event.key][0], centre.y + moves[event.key][1]);
      else if (event.key in zooms) setZoom(clamp(Number(find("zoom").value) + zooms[event.key], 0, ZOOMS.length - 1));
      else return;
      event.preventDefault();
    });
    return canvas;
  }

  [picturePane, mapPane].forEach(handled);
  find("which").addEventListener("change", (event) => show(Number(event.target.value)));
  for (const id of ["first", "second"]) find(id).addEventListener("change", choose);
  find("zoom").addEventListener("input", () => setZoom(Number(find("zoom").value)));
  find("split").addEventListener("input", () => { stopFlicker(); draw(); });
  find("flicker").addEventListener("click", flicker);
  find("grid").addEventListener("change", draw);
  addEventListener("resize", draw);
  show(0);
})();
