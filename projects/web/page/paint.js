// Pictures and masks on canvases, and what of masks is counted.

/** Paint a picture, R, G, B of every pixel. */
export function paintPicture(canvas, { height, width, pixels }) {
  paint(canvas, height, width, (i, color) => color.set(pixels.subarray(3 * i, 3 * i + 3)));
}

/**
 * Paint a mask over its picture.
 * @param {number} opacity of the mask, 0 to 1
 * @param {Uint8Array?} reference a mask, or none; where both agree, the picture is shown, pale and gray
 */
export function paintMask(canvas, { height, width, pixels }, mask, colors, opacity, reference) {
  const share = reference ? 1 : opacity;
  paint(canvas, height, width, (i, color) => {
    const [red, green, blue] = pixels.subarray(3 * i, 3 * i + 3);
    if (reference && mask[i] === reference[i]) {
      color.fill(128 + (0.299 * red + 0.587 * green + 0.114 * blue) / 2);
    } else {
      const own = colors[mask[i]];
      color[0] = share * own[0] + (1 - share) * red;
      color[1] = share * own[1] + (1 - share) * green;
      color[2] = share * own[2] + (1 - share) * blue;
    }
  });
}

/** Paint a canvas; `fill` gets the number of a pixel and the place for its R, G, B. */
function paint(canvas, height, width, fill) {
  canvas.height = height;
  canvas.width = width;
  const image = new ImageData(width, height);
  image.data.fill(255);
  for (let i = 0; i < height * width; i++) fill(i, image.data.subarray(4 * i, 4 * i + 3));
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
