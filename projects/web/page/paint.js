// Pictures and masks on canvases, and what of masks is counted.

/** Paint a picture, R, G, B of every pixel. */
export function paintPicture(canvas, { height, width, pixels }) {
  paint(canvas, height, width, (i, channel) => pixels[3 * i + channel]);
}

/**
 * Paint a mask over its picture.
 * @param {number} opacity of the mask, 0 to 1
 * @param {Uint8Array?} reference a mask, or none; where both agree, the picture is shown, pale and gray
 */
export function paintMask(canvas, { height, width, pixels }, mask, colors, opacity, reference) {
  const share = reference ? 1 : opacity;
  paint(canvas, height, width, (i, channel) => {
    if (reference && mask[i] === reference[i]) {
      return 128 + (0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2]) / 2;
    }
    return share * colors[mask[i]][channel] + (1 - share) * pixels[3 * i + channel];
  });
}

/** Paint a canvas; `value` gives a channel (R, G, B) of a pixel by their numbers. It must be fast: no new objects. */
function paint(canvas, height, width, value) {
  canvas.height = height;
  canvas.width = width;
  const image = new ImageData(width, height);
  const { data } = image;
  for (let i = 0; i < height * width; i++) {
    for (let channel = 0; channel < 3; channel++) data[4 * i + channel] = value(i, channel);
    data[4 * i + 3] = 255;
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
