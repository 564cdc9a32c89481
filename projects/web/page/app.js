// The page: it loads the models, runs them on the chosen picture, and shows what they predict.
import { Compare } from './compare.js';
import { Engine, download } from './engine.js';
import { difference } from './paint.js';
import { showCards, showLegend, showShares, views } from './results.js';
import { asMebibytes, asPercent, labelOf } from './text.js';

const byId = (id) => document.getElementById(id);
const engine = new Engine();
const compare = new Compare(byId('compare'));

/** Runs of each model. The median of three times is steadier than one. */
const RUNS = 3;

let manifest;
let group; // the models that were chosen
let picks = 0; // number of pictures that were chosen, also before the models are loaded
let picked; // its name, once it is read
let latest = 0; // number of the last run; what an earlier one still finds is dropped
let shown; // what is on the page: group, picture (as the models see it) and results

/** Set the status line; screen readers read it out, so not again if it is the same. */
function say(text) {
  if (byId('status').textContent !== text) byId('status').textContent = text;
}

function complain(text) {
  byId('error').textContent = text;
}

const filesOf = ({ models }) => models.flatMap(({ file, rebuilt }) => (rebuilt ? [file, rebuilt] : [file]));

/** Groups that were or are being loaded, and when they are done. */
const loads = new Map();
const arrived = new Set(); // paths of the files that the worker has

/** Download what is missing of the runtime and a group's files. */
function load(target) {
  if (!loads.has(target)) {
    const files = [manifest.runtime, ...filesOf(target)];
    const done = loadFiles(target, files.filter(({ path }) => !arrived.has(path)));
    done.catch(() => loads.delete(target)); // to try again when it is needed
    loads.set(target, done);
  }
  return loads.get(target);
}

async function loadFiles(target, files) {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const progress = byId('progress');
  let loaded = 0;
  const report = (bytes) => {
    loaded += bytes;
    progress.value = loaded / total;
    const amount = `${asMebibytes(loaded)} of ${asMebibytes(total)} MB`;
    if (target === group) say(`Loading ${target.network}: ${amount}`);
  };
  progress.hidden = false;
  try {
    for (const { path } of files) {
      const bytes = await download(path, report);
      if (path === manifest.runtime.path) await engine.do('start', { wasm: bytes }, [bytes]);
      else await engine.do('store', { path, bytes }, [bytes]);
      arrived.add(path);
    }
  } finally {
    progress.hidden = true;
  }
}

/** Run the models of the chosen group on the picture, one after the other. */
async function run() {
  const mine = ++latest;
  const stale = () => mine !== latest;
  const target = group;
  byId('results').ariaBusy = 'true';
  complain('');
  try {
    await load(target);
    if (stale()) return;
    say(`Preparing ${target.network}`);
    await engine.do('prepare', { paths: filesOf(target).map(({ path }) => path), canvas: target.canvas });
    if (stale()) return;
    const picture = await engine.do('open', { canvas: target.canvas, fill: target.fill });
    const results = [];
    for (const model of target.models) {
      if (stale()) return;
      say(`Running ${labelOf(model)}`);
      const predict = ({ path }, channels, times) => engine.do('predict', { path, channels, times });
      const { data: mask, milliseconds } = await predict(model.file, 1, RUNS);
      const rebuilt = model.rebuilt && await predict(model.rebuilt, 3, 1);
      results.push({ model, mask, milliseconds, rebuilt: rebuilt?.data });
    }
    if (stale()) return;
    if (shown?.group !== target) showGroup(target);
    shown = { group: target, picture: { ...picture, name: picked }, results };
    show();
  } catch (error) {
    if (!stale()) complain(`${target.network} could not be run: ${error.message}`);
  } finally {
    if (!stale()) byId('results').ariaBusy = 'false';
  }
}

/** Adapt what does not depend on the picture. */
function showGroup({ models, classes }) {
  byId('reference').replaceChildren(...models.map((model) => new Option(labelOf(model))));
  showLegend(classes);
  for (const note of document.querySelectorAll('.zoo')) note.hidden = models[0].miou === undefined;
}

/** Show the results as the controls say. */
function show() {
  const { group: { models, classes }, picture, results } = shown;
  const look = {
    reference: byId('reference').selectedIndex,
    opacity: byId('opacity').value / 100,
    differences: byId('differences').checked,
  };
  byId('results').hidden = false;
  const all = views(picture, results, classes, look);
  showCards(all);
  // The first role beside the last DSRL model, which is what this project is about. The first view is the picture.
  const dsrl = models.findLastIndex(({ role }) => role === 'DSRL');
  compare.show(all, [1, 1 + (dsrl < 0 ? models.length - 1 : dsrl)]);
  showShares(results, classes);
  const reference = results[look.reference];
  const others = results.filter((result) => result !== reference);
  const found = others.map((other) => `${labelOf(other.model)} ${asPercent(difference(other.mask, reference.mask))}`);
  say(`${picture.name}. Pixels that differ from ${labelOf(reference.model)}: ${found.join(', ') || 'no other model'}.`);
}

/** Take a picture, which may still be on its way, unless the browser cannot read it. */
async function pick(name, blob) {
  const mine = ++picks;
  try {
    const bytes = await blob;
    if (mine !== picks) return; // another picture was picked during the download
    if (!await engine.do('read', { blob: bytes })) throw new Error('choose a PNG, JPEG or WebP file');
  } catch (error) {
    if (mine === picks) complain(`${name} cannot be read: ${error.message}`);
    return;
  }
  picked = name;
  await run();
}

function offerExamples() {
  byId('examples').append(...manifest.examples.map((example) => {
    example.blob = download(example.path).then((bytes) => new Blob([bytes])); // now: later there may be no network
    const image = Object.assign(new Image(), { src: example.path, alt: example.name });
    const button = Object.assign(document.createElement('button'), { type: 'button' });
    button.append(image);
    button.addEventListener('click', () => pick(example.name, example.blob));
    return button;
  }));
}

function listen() {
  byId('file').addEventListener('change', ({ target }) => {
    const [file] = target.files;
    if (file) pick(file.name, file);
    target.value = ''; // so that the same file can be picked again
  });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) pick(file.name, file);
  });
  byId('network').addEventListener('change', ({ target }) => {
    group = manifest.groups[target.selectedIndex];
    run();
  });
  for (const id of ['reference', 'opacity', 'differences']) byId(id).addEventListener('input', show);
}

async function main() {
  manifest = await (await fetch('manifest.json', { cache: 'no-cache' })).json();
  byId('network').replaceChildren(...manifest.groups.map(({ network }) => new Option(network)));
  [group] = manifest.groups;
  offerExamples();
  const first = load(group);
  listen();
  await first;
  if (!picks) await pick(manifest.examples[0].name, manifest.examples[0].blob);
  for (const other of manifest.groups) await load(other);
  for (const { blob } of manifest.examples) await blob;
  byId('offline').hidden = false;
}

main().catch((error) => complain(`Not everything could be loaded: ${error.message}`));
