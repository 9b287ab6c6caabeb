"use strict";

(() => {
  const NAMES = ["kernel", "stride", "padding", "dilation", "outputPadding"];
  const LEAST = [1, 1, 0, 1, 0];
  const REACH = [16, 8, 8, 4];
  const MOST_BARS = 64;
  const MOST_CELLS = 64;
  const SVG = "http://www.w3.org/2000/svg";

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

  // Enough positions for two periods that no border reaches, or as many as can be drawn; null where nothing can.
  function shownCounts() {
    const total = totalStride(stack);
    const reach = stack.reduceRight((pixels, stage) => pixels * stage.stride + (stage.kernel - 1) * stage.dilation, 0);
    let longest = null;
    for (let positions = Math.max(3, Math.ceil(32 / total)); positions <= 4096; positions *= 2) {
      const row = counts(stack, positions);
      if (row) longest = row;
      if (row && row.length >= Math.max(2 * reach + 2 * total, 32)) break;
    }
    return longest;
  }

  function middle(row, most) {
    const first = Math.max(0, Math.floor((row.length - most) / 2));
    return { first, values: row.slice(first, first + most) };
  }

  function draw() {
    const row = shownCounts();
    const energies = energiesByPeriod(stack, dims);
    drawBars(row);
    if (dims === 2) drawPlane(row);
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

  function drawBars(row) {
    const { first, values } = middle(row ?? [], MOST_BARS);
    const most = Math.max(1, ...values);
    const drawing = find("bars");
    const step = 10;
    const height = 120;
    drawing.setAttribute("viewBox", `0 0 ${Math.max(1, values.length) * step} ${height + 2}`);
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.replaceChildren(...values.map((count, index) => {
      const bar = document.createElementNS(SVG, "rect");
      const tall = (count / most) * height;
      Object.entries({ x: index * step + 0.5, y: height - tall, width: step - 1, height: tall + 2 })
        .forEach(([key, value]) => bar.setAttribute(key, value));
      return bar;
    }));
    const part = values.length < (row ?? []).length ? `, pixels ${first} to ${first + values.length - 1}` : "";
    find("range-1d").textContent = row ? `${Math.min(...values)} to ${most}${part}` : "too little is left by the padding, or too much to draw";
  }

  function drawPlane(row) {
    const { values } = middle(row ?? [], MOST_CELLS);
    const canvas = find("counts");
    const size = values.length;
    canvas.hidden = !size;
    find("range-2d").textContent = size ? `${Math.min(...values) ** 2} to ${Math.max(...values) ** 2}` : "";
    if (!size) return;
    // Whole screen pixels for each cell: anything else would draw a grid of its own.
    const scale = Math.max(1, Math.floor(272 / size));
    canvas.width = canvas.height = size * scale;
    const context = canvas.getContext("2d");
    const most = Math.max(...values) ** 2 || 1;
    values.forEach((down, y) => values.forEach((across, x) => {
      context.fillStyle = colours[Math.round(((down * across) / most) * (colours.length - 1))];
      context.fillRect(x * scale, y * scale, scale, scale);
    }));
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
  find("one-dimension").addEventListener("click", () => { dims = 1; update(); });
  find("two-dimensions").addEventListener("click", () => { dims = 2; update(); });
  find("even").addEventListener("click", makeEven);
  addEventListener("hashchange", readAddress);
  build();
  readAddress();
})();
