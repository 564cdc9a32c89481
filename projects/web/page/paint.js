// Pictures and masks on canvases.

/** A canvas of a picture, R, G, B of every pixel. */
export function paintPicture(canvas, { height, width, pixels }) {
  paint(canvas, height, width, (i, out) => {
    for (let color = 0; color < 3; color++) out[color] = pixels[3 * i + color];
  });
}

/**
 * A mask over its picture.
 * @param {number} opacity of the mask, 0 to 1
 * @param {Uint8Array?} reference a mask, or none; where both agree, the picture is shown, pale and gray
 */
export function paintMask(canvas, { height, width, pixels }, mask, colors, opacity, reference) {
  paint(canvas, height, width, (i, out) => {
    const at = 3 * i;
    if (reference && mask[i] === reference[i]) {
      const gray = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
      out.fill(128 + gray / 2);
    } else {
      const color = colors[mask[i]];
      const share = reference ? 1 : opacity;
      for (let c = 0; c < 3; c++) out[c] = share * color[c] + (1 - share) * pixels[at + c];
    }
  });
}

function paint(canvas, height, width, color) {
  canvas.height = height;
  canvas.width = width;
  const image = new ImageData(width, height);
  const pixel = new Uint8ClampedArray(3);
  for (let i = 0; i < height * width; i++) {
    color(i, pixel);
    image.data.set(pixel, 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

/** Share of the pixels at which two masks differ, 0 to 1. */
export function difference(mask, other) {
  return mask.reduce((count, value, i) => count + (value !== other[i]), 0) / mask.length;
}

/** Share of each class in a mask, 0 to 1. */
export function shares(mask, classes) {
  const counts = new Array(classes).fill(0);
  for (const value of mask) counts[value]++;
  return counts.map((count) => count / mask.length);
}
