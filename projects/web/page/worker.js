// The worker: it reads pictures and runs models, so that the page stays responsive.
import * as ort from './ort.js';
import { fit, resize } from './resize.js';

/** Rows of a picture that are read at once. Browsers limit the size of a canvas, phones to less than their cameras'. */
const STRIP = 256;

const stored = new Map(); // bytes of the models' files
const sessions = new Map(); // of the models that are ready
let bitmap; // the picture
let input; // the same, as the models read it
let shown; // height and width of its part of the canvas

/** The bytes of the picture, row by row. */
function rowsOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, Math.min(STRIP, bitmap.height));
  const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
  let strip = -1;
  let pixels;
  const row = (y) => {
    if (strip !== Math.floor(y / STRIP)) {
      strip = Math.floor(y / STRIP);
      context.fillRect(0, 0, canvas.width, canvas.height); // under transparent pictures
      context.drawImage(bitmap, 0, -strip * STRIP);
      pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    }
    const start = 4 * bitmap.width * (y % STRIP);
    return pixels.subarray(start, start + 4 * bitmap.width);
  };
  return { height: bitmap.height, width: bitmap.width, row };
}

/** Copy the rows of an array whose rows are `from` elements long, each up to `to` of them. */
function crop(array, from, to, rows) {
  const part = new array.constructor(rows * to);
  for (let y = 0; y < rows; y++) part.set(array.subarray(y * from, y * from + to), y * to);
  return part;
}

/** Run a model a number of times; return its output and the median of the times. */
async function run(session, pixels, canvas, times = 1) {
  const feeds = { [session.inputNames[0]]: new ort.Tensor('uint8', pixels, [1, ...canvas, 3]) };
  const measured = [];
  let outputs;
  while (measured.length < times) {
    const start = performance.now();
    outputs = await session.run(feeds);
    measured.push(performance.now() - start);
  }
  const milliseconds = measured.sort((a, b) => a - b)[Math.floor(times / 2)];
  return { data: outputs[session.outputNames[0]].data, milliseconds };
}

const tasks = {
  /** Set up the runtime with the bytes of its WebAssembly. */
  start({ wasm }) {
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.numThreads = 1; // more need headers that not every server sends
  },

  store({ path, bytes }) {
    stored.set(path, new Uint8Array(bytes));
  },

  /** Make the models of some files ready, and no others: each takes memory. */
  async prepare({ paths, canvas }) {
    for (const [path, session] of sessions) {
      if (!paths.includes(path)) {
        sessions.delete(path);
        await session.release();
      }
    }
    for (const path of paths) {
      if (sessions.has(path)) continue;
      const session = await ort.InferenceSession.create(stored.get(path), { executionProviders: ['wasm'] });
      await run(session, new Uint8Array(3 * canvas[0] * canvas[1]), canvas); // the first run is slower
      sessions.set(path, session);
    }
  },

  /** Read a picture, or keep the old one; return whether it can be read. */
  async read({ blob }) {
    // OpenCV ignores color profiles, too.
    const read = await createImageBitmap(blob, { colorSpaceConversion: 'none' }).catch(() => null);
    if (read) {
      bitmap?.close();
      bitmap = read;
    }
    return read !== null;
  },

  /** Put the picture on a canvas whose rest is filled; return its R, G, B as the models see it. */
  open({ canvas, fill }) {
    const size = fit([bitmap.height, bitmap.width], canvas);
    const pixels = resize(rowsOf(bitmap), size);
    input = { canvas, pixels: new Uint8Array(3 * canvas[0] * canvas[1]) };
    for (let i = 0; i < input.pixels.length; i++) input.pixels[i] = fill[i % 3];
    for (let y = 0; y < size[0]; y++) {
      input.pixels.set(pixels.subarray(3 * size[1] * y, 3 * size[1] * (y + 1)), 3 * canvas[1] * y);
    }
    shown = size;
    return { height: size[0], width: size[1], pixels };
  },

  /** Run a model on the open picture; return its output on the picture's part of the canvas, and its time. */
  async predict({ path, channels, times }) {
    const { data, milliseconds } = await run(sessions.get(path), input.pixels, input.canvas, times);
    return { data: crop(data, channels * input.canvas[1], channels * shown[1], shown[0]), milliseconds };
  },
};

// One after the other: the runtime cannot run two models at once, and `predict` needs what `open` read.
let last = Promise.resolve();
addEventListener('message', ({ data: { id, task, values } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, result: await tasks[task](values) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
});
