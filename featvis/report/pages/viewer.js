"use strict";

// Pictures and their maps, several versions of each, moved and zoomed together, in whole screen pixels.
(() => {
  const ZOOMS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
  const SVG = "http://www.w3.org/2000/svg";
  const find = (id) => document.getElementById(id);
  const views = JSON.parse(find("views").textContent);
  const given = find("gradients").dataset;
  const period = Number(given.period);
  const [picturePane, mapPane] = [find("pane-picture"), find("pane-gradient")];
  const images = new Map();
  let view = views[0];
  // The panes of all versions, below the two large ones, where there are more than two.
  let sheet = [];
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
    const chosen = shown();
    drawPane(picturePane, chosen.map(pictureOf));
    drawPane(mapPane, chosen.map((version) => version.map));
    sheet.forEach((canvas, index) => drawPane(canvas, [differ() ? pictureOf(view.versions[index]) : view.versions[index].map]));
    find("zoom").nextElementSibling.textContent = `${zoom()} ×`;
    find("split").nextElementSibling.textContent = `${find("split").value} %`;
  }

  // One image, or two that the slider divides.
  function drawPane(canvas, [before, after]) {
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
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
    if (find("grid").checked && period > 1 && size * period >= 8) drawGrid(context, x, y, size);
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
    context.fillStyle = "rgba(20, 20, 20, 0.7)";
    for (let pixel = (period - (view.left % period)) % period; pixel <= view.width; pixel += period) {
      context.fillRect(x + pixel * size, y, 1, view.height * size);
    }
    for (let pixel = (period - (view.top % period)) % period; pixel <= view.height; pixel += period) {
      context.fillRect(x, y + pixel * size, view.width * size, 1);
    }
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
    centre = { x: view.width / 2, y: view.height / 2 };
    const count = view.versions.length;
    ["first", "second"].forEach((id, place) => {
      find(id).replaceChildren(...view.versions.map((version, number) => element("option", { value: number }, version.label)));
      find(id).value = clamp(JSON.parse(given.chosen)[place], 0, count - 1);
      find(id).parentElement.hidden = count < 3;
    });
    find("split-line").hidden = count < 2;
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
    setZoom(0);
    choose();
  }

  function choose() {
    const labels = shown().map((version) => version.label);
    find("picture-caption").textContent = differ() ? labels.join(" | ") : "picture";
    find("map-caption").textContent = (given.map ? `${given.map}: ` : "") + labels.join(" | ");
    picturePane.setAttribute("aria-label", `Picture ${view.name}${differ() ? `: ${labels.join(", then ")}` : ""}`);
    mapPane.setAttribute("aria-label", `Map of ${view.name}: ${labels.join(", then ")}`);
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
    const harmonics = [];
    for (let m = -Math.floor(period / 2); m <= period / 2; m++) harmonics.push(m / period);
    if (period > 1 && period <= 8) {
      const radius = Math.min(0.022, 0.3 / period);
      for (const y of harmonics) for (const x of harmonics) if (x || y) add("circle", { cx: x, cy: y, r: radius });
    } else if (period > 1) {
      for (const place of harmonics) add("path", { d: `M${place} .5 v.025 M${place} -.5 v-.025 M.5 ${place} h.025 M-.5 ${place} h-.025` });
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
    const [down, across] = [row + view.top, column + view.left];
    find("place").textContent = `row ${down}, column ${across}; phase ${down % period}, ${across % period} of ${period}`;
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
  find("split").addEventListener("input", draw);
  find("grid").addEventListener("change", draw);
  addEventListener("resize", draw);
  show(0);
})();
