// Bilinear resizing with the integers of OpenCV's cv2.resize, so that models read the same bytes here as in Python.
// (The canvas of a browser averages or interpolates in its own way, which differs from browser to browser.)

/** Weights are multiples of 1 / ONE. */
const ONE = 2048;

/** Height and width of a picture that is fitted into a canvas, as MMCV's Resize with keep_ratio rounds them. */
export function fit(picture, canvas) {
  const scale = Math.min(...canvas.map((side, axis) => side / picture[axis]));
  return picture.map((side) => Math.max(1, Math.floor(side * scale + 0.5)));
}

/** Round halves to even, as C does. */
function round(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/**
 * The two source positions that every target position reads, and their weights.
 * OpenCV gives the border pixel all of the weight along rows, and splits it between two copies along columns: rounding
 * differs.
 */
function taps(from, to, wholeBorder) {
  const scale = 1 / (to / from);
  const inside = (position) => Math.min(Math.max(position, 0), from - 1);
  return Array.from({ length: to }, (_, target) => {
    const center = Math.fround((target + 0.5) * scale - 0.5);
    let first = Math.floor(center);
    let part = Math.fround(center - first);
    if (wholeBorder && (first < 0 || first >= from - 1)) {
      first = inside(first);
      part = 0;
    }
    const weights = [round(Math.fround(1 - part) * ONE), round(part * ONE)];
    return { at: [inside(first), inside(first + 1)], weights };
  });
}

/**
 * Resize a picture that is read row by row.
 * @param {{height: number, width: number, row: (y: number) => Uint8ClampedArray}} picture rows are R, G, B, A; they are
 *     asked for from top to bottom
 * @param {number[]} size height and width of the result
 * @returns {Uint8Array} R, G, B of every pixel
 */
export function resize(picture, [height, width]) {
  const columns = taps(picture.width, width, true);
  const kept = new Map();
  const narrowed = (y) => {
    if (!kept.has(y)) {
      const row = picture.row(y);
      const sums = new Int32Array(3 * width);
      columns.forEach(({ at, weights }, x) => {
        for (let color = 0; color < 3; color++) {
          sums[3 * x + color] = row[4 * at[0] + color] * weights[0] + row[4 * at[1] + color] * weights[1];
        }
      });
      kept.set(y, sums);
    }
    return kept.get(y);
  };
  const result = new Uint8Array(3 * height * width);
  taps(picture.height, height, false).forEach(({ at, weights }, y) => {
    for (const old of kept.keys()) if (old < at[0]) kept.delete(old);
    const [above, below] = at.map(narrowed);
    for (let i = 0; i < above.length; i++) {
      const sum = ((weights[0] * (above[i] >> 4)) >> 16) + ((weights[1] * (below[i] >> 4)) >> 16);
      result[3 * width * y + i] = (sum + 2) >> 2;
    }
  });
  return result;
}
