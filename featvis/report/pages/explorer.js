"use strict";

(() => {
  const NAMES = ["kernel", "stride", "padding", "dilation", "outputPadding"];
  const LEAST = [1, 1, 0, 1, 0];
  const REACH = [16, 8, 8, 4];
  // Milliseconds from one window to the next.
  const SLIDE = 700;

  const root = document.getElementById("explorer");
  const largest = JSON.parse(root.dataset.largest);
  const colours = JSON.parse(root.dataset.colours);
  const find = (id) => document.getElementById(id);

  // In the address: #stack=3,2,1+3,2,1&dims=2, the stages as `featvis overlap` takes them.
  function readStage(text) {
    const numbers = text.split(",").map(Number);
    if (numbers.length < 2 || numbers.length > 5 || !numbers.every(Number.isInteger)) return null;
    const stage = {};
    NAMES.forEach((name, index) => {
      stage[name] = Math.min(Math.max(numbers[index] ?? LEAST[index], LEAST[index]), largest[index]);
    });
    stage.outputPadding = Math.min(stage.outputPadding, Math.max(stage.stride, stage.dilation) - 1);
    return stage;
  }

  function readStack(text) {
    const stack = text.split("+").map(readStage).slice(0, Number(find("layers").max));
    return stack.every(Boolean) ? stack : null;
  }

  function writeStack() {
    return stack.map((stage) => {
      const numbers = NAMES.map((name) => stage[name]);
      while (numbers.length > 3 && numbers.at(-1) === LEAST[numbers.length - 1]) numbers.pop();
      return numbers.join(",");
    }).join("+");
  }

  let stack = readStack(root.dataset.stack);
  let dims = Number(root.dataset.dims);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  // What is drawn; what is pointed at in it, along one axis or in the plane; how far windows have slid, null where they have not; and the
  // number of pixels asked for.
  let shown = null;
  let selected = null;
  let cell = null;
  let slid = null;
  let sliding = 0;
  let asked = null;

  function readAddress() {
    const given = new Map(location.hash.slice(1).split("&").map((part) => part.split("=")));
    const found = readStack((given.get("stack") ?? "").replaceAll("%2C", ","));
    if (!found) return;
    stack = found;
    dims = given.get("dims") === "1" ? 1 : 2;
    build();
  }

  function element(name, attributes = {}, text = "") {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  }

  // The sliders of every layer; made anew only where the number of layers or a slider's reach changes.
  function build() {
    find("stages").replaceChildren(...stack.map((stage, layer) => {
      const part = element("fieldset");
      const place = [layer === 0 && "next to the pixels", stage.outputPadding && `output padding ${stage.outputPadding}`];
      part.append(element("legend", {}, [`layer ${layer + 1}`, ...place.filter(Boolean)].join(", ")));
      REACH.forEach((reach, index) => {
        const name = NAMES[index];
        const id = `${name}-${layer + 1}`;
        const line = element("div", { class: "slider" });
        const input = element("input", {
          id, type: "range", min: LEAST[index], max: Math.max(reach, stage[name]), value: stage[name],
        });
        input.addEventListener("input", () => { stage[name] = Number(input.value); update(); });
        line.append(element("label", { for: id }, name), input, element("output", { for: id }));
        part.append(line);
      });
      return part;
    }));
    update(false);
  }

  function update(byHand = true) {
    find("layers").value = stack.length;
    root.querySelectorAll(".slider").forEach((line) => {
      line.querySelector("output").textContent = line.querySelector("input").value;
    });
    find("one-dimension").setAttribute("aria-pressed", dims === 1);
    find("two-dimensions").setAttribute("aria-pressed", dims === 2);
    find("plane").hidden = dims === 1;
    draw();
    if (byHand) history.replaceState(null, "", `#stack=${writeStack()}&dims=${dims}`);
  }

  // Enough positions for the pixels that are shown with room on both sides that no border reaches, or as many as can be counted.
  function shownCounts() {
    const total = totalStride(stack);
    const reach = stack.reduceRight((pixels, stage) => pixels * stage.stride + (stage.kernel - 1) * stage.dilation, 0);
    let longest = null;
    for (let positions = Math.max(3, Math.ceil(32 / total)); positions <= 4096; positions *= 2) {
      const row = counts(stack, positions);
      if (row) longest = { row, positions };
      if (row && row.length >= 2 * reach + wanted() + 2 * total) break;
    }
    return longest;
  }

  // How many pixels are shown: sixteen to begin with, two periods where that is more, or as many as are asked for.
  function wanted() {
    return asked ?? Math.min(64, Math.max(16, Math.ceil(totalStride(stack) / 4) * 8));
  }

  // The middle of a row, from a whole period on where there is room.
  function middle(row) {
    const start = Math.max(0, Math.floor((row.length - wanted()) / 2));
    const whole = Math.ceil(start / totalStride(stack)) * totalStride(stack);
    return whole + wanted() <= row.length ? whole : start;
  }

  function draw() {
    const energies = energiesByPeriod(stack, dims);
    stop();
    selected = cell = null;
    const found = shownCounts();
    shown = null;
    if (found) {
      const first = middle(found.row);
      const values = found.row.slice(first, first + wanted());
      shown = { values, first, row: found.row, part: windowsPart(stack, lengths(stack, found.positions), first, values.length, find("windows").clientWidth || 640) };
    }
    find("pixels").value = wanted();
    find("pixels").nextElementSibling.textContent = wanted();
    const range = shown ? [Math.min(...shown.values), Math.max(...shown.values)] : [];
    const most = shown && shown.values.length < shown.row.length ? `, pixels ${shown.first} to ${shown.first + shown.values.length - 1}` : "";
    find("range-1d").textContent = shown ? `${range.join(" to ")}${most}` : "too little is left by the padding, or too much to draw";
    find("range-2d").textContent = shown ? range.map((count) => count ** 2).join(" to ") : "";
    drawAgain();
    find("total").textContent = totalStride(stack);
    find("energies").tBodies[0].replaceChildren(...energies.map((line) => {
      const cells = element("tr");
      cells.append(element("th", { scope: "row" }, line.period));
      for (const value of [line.energy, line.exact]) {
        cells.append(element("td", { "data-value": value }, Math.abs(value) < 5e-13 ? "0" : value.toFixed(4)));
      }
      return cells;
    }));
    find("advice").textContent = advice(energies);
    find("even").disabled = !stack.some((stage) => isUneven(stage) && balancedKernels(stage).length);
  }

  const colour = (share) => colours[Math.round(share * (colours.length - 1))];

  // The same numbers with what is pointed at, or what has slid by.
  function drawAgain() {
    find("windows").toggleAttribute("hidden", !shown);
    find("counts").hidden = !shown;
    if (!shown) return;
    const active = selected && windowsOf(shown.part, selected);
    const sofar = slid === null ? null : slidCounts();
    drawWindows(find("windows"), shown.part, shown.values, sofar, active, colour);
    if (dims === 2) shown.plane = drawPlane(find("counts"), shown, cell ? cellFrames() : active ? [[[...active[0]], [...active[0]]]] : [], colour);
    find("told").textContent = cell ? toldCell() : selected ? told(active) : "Point at a pixel to see which windows read it, at a place of a layer to see what it reads; or use the arrow keys.";
  }

  // Paths from the coarsest end's places so far.
  function slidCounts() {
    let row = Array.from({ length: shown.part.sizes.at(-1) }, (_, place) => (place <= slid ? 1 : 0));
    for (const stage of [...stack].reverse()) row = transposed(row, stage);
    return row.slice(shown.first, shown.first + shown.values.length);
  }

  // "4 to 7", or each where some between are missing.
  function listed(places) {
    const sorted = [...places].sort((one, other) => one - other);
    if (sorted.length < 2) return sorted.join("");
    const whole = sorted.at(-1) - sorted[0] === sorted.length - 1;
    return whole ? `${sorted[0]} to ${sorted.at(-1)}` : sorted.length > 8 ? `${sorted.length} from ${sorted[0]} to ${sorted.at(-1)}` : sorted.join(", ");
  }

  function told(active) {
    const { layer, place } = selected;
    if (layer === 0) {
      const readers = stack.map((_, above) => active[above + 1].size && `${active[above + 1].size} of layer ${above + 1} (${listed(active[above + 1])})`);
      const paths = shown.row[place];
      const read = readers.filter(Boolean);
      return read.length ? `Pixel ${place} is read by windows: ${read.join(", ")}. Paths to it: ${paths}.` : `Pixel ${place} is read by no window.`;
    }
    const below = layer === 1 ? "" : `places ${listed(active[layer - 1])} of layer ${layer - 1}, and through them `;
    return `Place ${place} of layer ${layer} reads ${below}pixels ${listed(active[0])}.`;
  }

  // Of the pixel in the plane that is pointed at: its readers in the first layer by axis, and the pixels that each of their windows holds.
  const readersOfCell = () => [cell.row, cell.column].map((pixel) => readersOf(stack[0], pixel).filter((one) => one >= 0 && one < shown.part.sizes[1]));

  function cellFrames() {
    const [down, across] = readersOfCell().map((readers) => readers.map((one) => readBy(stack[0], one)));
    return [...down.flatMap((rows) => across.map((columns) => [rows, columns])), [[cell.row], [cell.column]]];
  }

  function toldCell() {
    const [down, across] = readersOfCell().map((readers) => readers.length);
    const paths = [cell.row, cell.column].map((pixel) => shown.row[pixel]);
    return `Row ${cell.row}, column ${cell.column} is read by ${down} × ${across} windows of layer 1. Paths to it: ${paths.join(" × ")} = ${paths[0] * paths[1]}.`;
  }

  function select(found) {
    if (!cell && found?.layer === selected?.layer && found?.place === selected?.place) return;
    selected = found;
    cell = null;
    drawAgain();
  }

  // A pixel of the plane, also a pixel of the axis, whose column it is.
  function selectCell(row, column) {
    const inside = (pixel) => Math.min(Math.max(pixel, shown.first), shown.first + shown.values.length - 1);
    cell = { row: inside(row), column: inside(column) };
    selected = { layer: 0, place: cell.column };
    drawAgain();
  }

  function pointAtPlane(event) {
    if (!shown || sliding) return;
    const { gutter, scale } = shown.plane;
    if (event.offsetX < gutter || event.offsetY > shown.values.length * scale) return;
    stop();
    selectCell(shown.first + Math.floor(event.offsetY / scale), shown.first + Math.floor((event.offsetX - gutter) / scale));
  }

  function moveInPlane(event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!shown || !(event.key in moves || event.key === "Escape")) return;
    event.preventDefault();
    stop();
    if (event.key === "Escape") return select(null);
    const middle = shown.first + Math.floor(shown.values.length / 2);
    const [down, across] = cell ? moves[event.key] : [0, 0];
    return selectCell((cell?.row ?? middle) + down, (cell?.column ?? middle) + across);
  }

  function stop() {
    clearInterval(sliding);
    sliding = 0;
    slid = null;
    find("play").setAttribute("aria-pressed", false);
    find("play").textContent = "slide";
    find("told").removeAttribute("aria-live");
  }

  // The next window of the coarsest layer, and the end behind the last.
  function slide() {
    const places = shown.part.places(stack.length);
    slid = slid === null ? places[0] : slid + 1;
    cell = null;
    if (slid > places.at(-1)) {
      stop();
      selected = null;
    } else selected = { layer: stack.length, place: slid };
    drawAgain();
  }

  // Windows slide until it is pressed again or the last has passed; where motion is not wanted each press moves them once.
  function play() {
    if (!shown) return;
    if (still.matches) return slide();
    if (sliding) {
      clearInterval(sliding);
      sliding = 0;
    } else {
      sliding = setInterval(slide, SLIDE);
      slide();
    }
    find("told").setAttribute("aria-live", sliding ? "off" : "polite");
    find("play").setAttribute("aria-pressed", Boolean(sliding));
    find("play").textContent = sliding ? "pause" : "go on";
  }

  function point(event) {
    if (!shown || sliding) return;
    const box = find("windows").getBoundingClientRect();
    const found = windowsAt(shown.part, event.clientX - box.left, event.clientY - box.top);
    if (!found) return;
    stop();
    select(found);
  }

  function moveBy(event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] };
    if (!shown || !(event.key in moves || event.key === "Escape")) return;
    event.preventDefault();
    stop();
    if (event.key === "Escape") return select(null);
    const { part } = shown;
    const [up, along] = moves[event.key];
    if (!selected) return select({ layer: 0, place: shown.first + Math.floor(shown.values.length / 2) });
    const layer = Math.min(Math.max(selected.layer + up, 0), stack.length);
    const places = part.places(layer);
    // The place that stands nearest to where it was.
    const over = part.middle(selected.layer, selected.place);
    const near = layer === selected.layer ? selected.place + along
      : places.reduce((best, place) => (Math.abs(part.middle(layer, place) - over) < Math.abs(part.middle(layer, best) - over) ? place : best));
    return select({ layer, place: Math.min(Math.max(near, places[0]), places.at(-1)) });
  }

  function isUneven(stage) {
    return energiesByPeriod([stage], 1).some((line) => line.energy > 1e-12);
  }

  function advice(energies) {
    const total = energies.length ? energies.at(-1).energy : 0;
    if (!energies.length) return "Nothing is strided: every pixel far from the border is read alike.";
    if (total < 1e-12) return "Even: every pixel far from the border is read equally often.";
    const said = stack.map((stage, layer) => {
      if (!isUneven(stage)) return null;
      const kernels = balancedKernels(stage);
      const mend = kernels.length
        ? `kernel ${kernels.join(" or ")} is even`
        : `no kernel is even while stride ${stage.stride} and dilation ${stage.dilation} share a factor`;
      return `layer ${layer + 1}: ${mend}`;
    });
    return `E(${energies.at(-1).period}) = ${total.toFixed(4)}. ${said.filter(Boolean).join("; ")}.`
      .replace(". layer", ". Layer");
  }

  // Each uneven layer gets its nearest even kernel, of two equally near ones the larger.
  function makeEven() {
    stack.filter(isUneven).forEach((stage) => {
      const distance = (kernel) => Math.abs(kernel - stage.kernel);
      const kernels = balancedKernels(stage).filter((kernel) => kernel <= largest[0]);
      kernels.sort((first, second) => distance(first) - distance(second) || second - first);
      stage.kernel = kernels[0] ?? stage.kernel;
    });
    build();
    update();
  }

  find("layers").addEventListener("input", (event) => {
    const wanted = Number(event.target.value);
    while (stack.length < wanted) stack.push({ ...stack.at(-1) });
    stack.length = wanted;
    build();
    update();
  });
  find("pixels").addEventListener("input", (event) => { asked = Number(event.target.value); draw(); });
  find("play").addEventListener("click", play);
  const drawing = find("windows");
  for (const kind of ["pointermove", "pointerdown"]) drawing.addEventListener(kind, point);
  drawing.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && slid === null) select(null); });
  drawing.addEventListener("keydown", moveBy);
  const plane = find("counts");
  for (const kind of ["pointermove", "pointerdown"]) plane.addEventListener(kind, pointAtPlane);
  plane.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && slid === null) select(null); });
  plane.addEventListener("keydown", moveInPlane);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
  addEventListener("resize", () => { if (shown && shown.part.width !== drawing.clientWidth) draw(); });
  find("one-dimension").addEventListener("click", () => { dims = 1; update(); });
  find("two-dimensions").addEventListener("click", () => { dims = 2; update(); });
  find("even").addEventListener("click", makeEven);
  addEventListener("hashchange", readAddress);
  build();
  readAddress();
})();
