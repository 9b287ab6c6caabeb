"use strict";

// The closed form of featvis/overlap.py. A stage is {kernel, stride, padding, dilation, outputPadding}; a stack lists
// its stages from the pixels to the score. All counts are whole numbers.

const MOST_PIXELS = 2 ** 16;

function totalStride(stack) {
  return stack.reduce((product, stage) => product * stage.stride, 1);
}

// How many places each layer has, from the pixels to so many at the coarsest end.
function lengths(stack, positions) {
  const found = [positions];
  for (const stage of [...stack].reverse()) {
    found.unshift((found[0] - 1) * stage.stride + 1 + (stage.kernel - 1) * stage.dilation + stage.outputPadding - 2 * stage.padding);
  }
  return found;
}

// Where the places of each layer stand over the pixels: the middle of what place n reads is offset + n * spacing.
function spots(stack) {
  const found = [{ spacing: 1, offset: 0 }];
  for (const stage of stack) {
    const { spacing, offset } = found.at(-1);
    const middle = ((stage.kernel - 1) * stage.dilation) / 2 - stage.padding;
    found.push({ spacing: spacing * stage.stride, offset: offset + spacing * middle });
  }
  return found;
}

// The places of the layer below that a place of a layer reads.
function readBy(stage, place) {
  return Array.from({ length: stage.kernel }, (_, tap) => place * stage.stride - stage.padding + tap * stage.dilation);
}

// The places of a layer that read a place of the layer below.
function readersOf(stage, below) {
  const taps = Array.from({ length: stage.kernel }, (_, tap) => (below + stage.padding - tap * stage.dilation) / stage.stride);
  return taps.filter(Number.isInteger).reverse();
}

// The transposed convolution of a row with a kernel of ones; null where padding leaves no pixel.
function transposed(row, stage) {
  const reach = (row.length - 1) * stage.stride + 1;
  const span = reach + (stage.kernel - 1) * stage.dilation + stage.outputPadding;
  if (span <= 2 * stage.padding || span > MOST_PIXELS) return null;
  const fine = new Array(span).fill(0);
  for (let tap = 0; tap < stage.kernel; tap++) {
    row.forEach((count, position) => { fine[position * stage.stride + tap * stage.dilation] += count; });
  }
  return fine.slice(stage.padding, span - stage.padding);
}

// How many paths lead to each pixel from so many positions at the coarsest end, borders included.
function counts(stack, positions) {
  let row = new Array(positions).fill(1);
  for (const stage of [...stack].reverse()) {
    row = row && transposed(row, stage);
  }
  return row;
}

// One period of the counts far from every border, from the picture's own first pixel.
function profile(stack) {
  let row = [1];
  for (const stage of [...stack].reverse()) {
    const length = row.length * stage.stride;
    const fine = new Array(length).fill(0);
    row.forEach((count, position) => {
      for (let tap = 0; tap < stage.kernel; tap++) {
        const pixel = position * stage.stride - stage.padding + tap * stage.dilation;
        fine[((pixel % length) + length) % length] += count;
      }
    });
    row = fine;
  }
  return row;
}

// E(period) of one axis: the mean over phases of (q - 1)², q being a phase's mean over the mean of all.
function axisEnergy(row, period) {
  const folded = new Array(period).fill(0);
  row.forEach((count, pixel) => { folded[pixel % period] += count; });
  const mean = row.reduce((sum, count) => sum + count, 0) / period;
  return folded.reduce((sum, count) => sum + (count / mean - 1) ** 2, 0) / period;
}

// E(p) and its part of exactly period p, for each divisor p > 1 of the total stride, in 1 or 2 dimensions.
function energiesByPeriod(stack, dims) {
  const row = profile(stack);
  const rows = [];
  for (let period = 2; period <= row.length; period++) {
    if (row.length % period) continue;
    const energy = (1 + axisEnergy(row, period)) ** dims - 1;
    const within = rows.filter((smaller) => period % smaller.period === 0);
    rows.push({ period, energy, exact: energy - within.reduce((sum, smaller) => sum + smaller.exact, 0) });
  }
  return rows;
}

function greatestDivisor(first, second) {
  return second ? greatestDivisor(second, first % second) : first;
}

// The nearest kernels, below and above, that read every pixel equally often; none where stride and dilation share a factor.
function balancedKernels(stage) {
  if (greatestDivisor(stage.stride, stage.dilation) > 1) return [];
  const below = stage.kernel - (stage.kernel % stage.stride);
  const above = Math.ceil(stage.kernel / stage.stride) * stage.stride;
  return [...new Set([below, above])].filter((kernel) => kernel > 0);
}
