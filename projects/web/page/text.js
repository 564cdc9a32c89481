// Words and numbers of the page.

const percent = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const asPercent = (share) => percent.format(share);

export const asTime = (milliseconds) => `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;

export const asSize = ([height, width]) => `${height} × ${width}`;

export const asMebibytes = (bytes) => (bytes / 2 ** 20).toFixed(0);

/** A model's role, and its name where that says more. */
export function labelOf({ role, name }) {
  const title = role[0].toUpperCase() + role.slice(1);
  return name.toLowerCase() === role.toLowerCase() ? title : `${title}: ${name}`;
}

/** A mask in words: its largest classes. */
export function describe(shares, classes) {
  const largest = shares.map((share, i) => [share, classes[i].name]).sort((a, b) => b[0] - a[0]);
  const words = largest.slice(0, 4).map(([share, name]) => `${name} ${asPercent(share)}`);
  return words.join(', ');
}
