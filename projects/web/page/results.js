// What the page shows of the models' masks.
import { difference, paintMask, paintPicture, shares } from './paint.js';
import { asPercent, asSize, asTime, describe, labelOf } from './text.js';

const byId = (id) => document.getElementById(id);

/** A new element with properties and children. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function swatch([red, green, blue]) {
  const element = make('span', { className: 'swatch' });
  element.style.setProperty('background', `rgb(${red} ${green} ${blue})`);
  return element;
}

export function showLegend(classes) {
  byId('legend').replaceChildren(...classes.map(({ name, color }) => make('li', {}, swatch(color), name)));
}

/** What a card says of a model: pairs of a term and its value. */
function facts(result, reference) {
  const { model } = result;
  const known = [['Val mIoU', model.miou?.toFixed(2)], ['Seed', model.seed], ['License', model.license]];
  return [
    ['Time', asTime(result.milliseconds)],
    ['Pixels that differ', result === reference ? 'reference' : asPercent(difference(result.mask, reference.mask))],
    ['Input size', asSize(model.input)],
    ...known.filter(([, value]) => value !== undefined),
  ];
}

/** A card: a canvas, which `paint` fills, above a title and pairs of a term and its value. */
function makeCard({ label, description, facts: pairs, paint }) {
  const card = byId('card-template').content.cloneNode(true);
  const canvas = card.querySelector('canvas');
  paint(canvas);
  canvas.setAttribute('aria-label', description);
  card.querySelector('h3').append(label);
  const rows = pairs.map(([term, value]) => make('div', {}, make('dt', {}, term), make('dd', {}, String(value))));
  card.querySelector('dl').append(...rows);
  return card;
}

/**
 * What can be shown: the picture, every mask, and the images that models rebuild.
 * @param {{name: string, height: number, width: number, pixels: Uint8Array}} picture as the models see it
 * @param {{model: object, mask: Uint8Array, milliseconds: number, rebuilt?: Uint8Array}[]} results
 * @param {{reference: number, opacity: number, differences: boolean}} look what the controls say
 */
export function views(picture, results, classes, look) {
  const reference = results[look.reference];
  const equal = look.differences ? reference.mask : null; // what is grayed
  const colors = classes.map(({ color }) => color);
  const masks = results.map((result) => ({
    label: labelOf(result.model),
    description: `Mask: ${describe(shares(result.mask, classes.length), classes)}`,
    facts: facts(result, reference),
    paint: (canvas) => paintMask(canvas, picture, result.mask, colors, look.opacity, equal),
  }));
  const rebuilt = results.filter((result) => result.rebuilt).map(({ model, rebuilt: pixels }) => ({
    label: `Rebuilt by ${labelOf(model)}`,
    description: `The picture, rebuilt from ${asSize(model.input)} pixels`,
    facts: [['Rebuilt from', asSize(model.input)], ['Used', 'in training only']],
    paint: (canvas) => paintPicture(canvas, { ...picture, pixels }),
  }));
  const original = {
    label: 'Picture',
    description: picture.name,
    facts: [['Name', picture.name], ['Resized to', asSize([picture.height, picture.width])]],
    paint: (canvas) => paintPicture(canvas, picture),
  };
  return [original, ...masks, ...rebuilt];
}

/** Show a card for every view. */
export function showCards(all) {
  byId('cards').replaceChildren(...all.map(makeCard));
}

/** Show a table of the classes' shares, with a column for every model. */
export function showShares(results, classes) {
  const columns = results.map(({ mask }) => shares(mask, classes.length));
  const head = (scope, ...children) => make('th', { scope }, ...children);
  const rows = classes.map(({ name, color }, i) =>
    make('tr', {}, head('row', swatch(color), name), ...columns.map((column) => make('td', {}, asPercent(column[i])))));
  const heads = results.map(({ model }) => head('col', labelOf(model)));
  byId('shares').replaceChildren(make('table', {},
    make('caption', { className: 'visually-hidden' }, 'Share of the picture’s pixels'),
    make('thead', {}, make('tr', {}, make('td'), ...heads)),
    make('tbody', {}, ...rows)));
}
