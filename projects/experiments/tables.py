"""Write the tables and pictures of the documents from records: python -m projects.experiments.tables."""

import argparse
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .config import ROOT
from .grid import GRIDS, Grid, load_grid
from .records import FOLDER, read_costs, read_records

__all__ = ['Results', 'accuracy', 'generate', 'main', 'readme']

#: Grids of the README's table, with their networks; and its rows.
README = dict(camvid_dabnet='DABNet', camvid_efficientnet_lite0='EfficientNet-Lite0')
README_ROWS = ['baseline', '+ SSSR + SISR + FA', '+ SSSR early', '+ SSSR early + SISR', 'full size']


class Results:
    """Results of the runs of a grid.

    Args:
        grid (Grid): whose rows and seeds count.
        records (Path): folder of the records.

    Attributes:
        runs (pd.DataFrame): a line per run, by row and seed: its metrics, and the ``hours`` and ``GiB`` of training.
        gains (pd.DataFrame): the same, less the first row's run of the same seed.
        curves (pd.DataFrame): a line per validation: ``row``, ``seed``, ``iteration`` and ``mIoU``.
        costs (pd.DataFrame): a line per row, see :func:`~projects.experiments.cost.measure`.
    """

    def __init__(self, grid: Grid, records: Path):
        self.rows, found, lines, curves = [row.title for row in grid.rows], read_records(records), {}, []
        for row in grid.rows:
            for seed, run in found.get(row.id, dict(runs={}))['runs'].items():
                memory = [session.get('peak_memory_mib', 0) for session in run['sessions']]
                training = dict(hours=run['train_seconds'] / 3600, GiB=max(memory) / 1024)
                lines[row.title, int(seed)] = run['metrics'] | training
                curves += [(row.title, int(seed), *point) for point in run['curve']]
        index = pd.MultiIndex.from_arrays([*zip(*lines)] or [[], []], names=['', 'seed'])
        self.runs = pd.DataFrame([*lines.values()], index, dtype=float).query(f'seed in {grid.seeds}')
        self.curves = pd.DataFrame(curves, columns=['row', 'seed', 'iteration', 'mIoU']).query(f'seed in {grid.seeds}')
        first = self.runs.index.get_level_values(0) == self.rows[0]
        self.gains = self.runs[~first].sub(self.runs[first].droplevel(0), level='seed').dropna(how='all')
        costs = read_costs(records, grid.name)['rows']
        self.costs = pd.DataFrame([costs.get(row.id, {}) for row in grid.rows], pd.Index(self.rows, name=''))
        self.costs['series'] = [row.series for row in grid.rows]

    def mean(self, name: str, digits: int = 2) -> pd.Series:
        """Format the mean of a metric over seeds, by row."""
        return self.runs[name].groupby(level=0).mean().map(f'{{:.{digits}f}}'.format, na_action='ignore')

    def spread(self, name: str, gains: bool = False, digits: int = 2) -> pd.Series:
        """Format mean and standard deviation of a metric, or of its gains, over seeds, by row."""
        sign, seeds = '+' * gains, (self.gains if gains else self.runs)[name].groupby(level=0)
        spread = seeds.std().map(lambda std: '' if std != std else f' ± {std:.{digits}f}')
        return seeds.mean().map(f'{{:{sign}.{digits}f}}'.format) + spread

    def markdown(self, columns: dict[str, pd.Series] | pd.DataFrame) -> str:
        """Make a table of texts with the rows in the grid's order."""
        table = pd.DataFrame(columns).reindex(self.rows).dropna(how='all').fillna('')
        return table.to_markdown(disable_numparse=True, colalign=['left'] + ['right'] * len(table.columns)) + '\n'


def accuracy(results: Results) -> str:
    """Tabulate the scores of every row, their gains over the first row, and the cost of training."""
    columns = dict(mIoU=results.spread('mIoU'), gain=results.spread('mIoU', gains=True), mBF=results.spread('mBF'))
    columns['mBF gain'] = results.spread('mBF', gains=True)
    for head, name in {'PSNR (dB)': 'sr/PSNR', 'SSIM': 'sr/SSIM'}.items():
        if name in results.runs:
            columns[head] = results.mean(name)
    columns['seeds'] = results.runs.mIoU.groupby(level=0).count().map(str)
    return results.markdown(columns | dict(hours=results.mean('hours'), GiB=results.mean('GiB')))


def _seeds(results: Results) -> str:
    """Tabulate the gains of every seed."""
    each = results.gains[['mIoU', 'mBF']].map('{:+.2f}'.format).groupby(level=0).agg(', '.join)
    return results.markdown(each.rename(columns='{} gain, by seed'.format))


def _classes(results: Results) -> str:
    """Tabulate the IoU and the boundary F-score of every class, means over seeds."""
    scores = (results.runs.filter(regex=rf'^{score}\.') for score in ('IoU', 'BF'))
    return '\n'.join(results.markdown({name.replace('.', ' '): results.mean(name) for name in part}) for part in scores)


def _cost(results: Results) -> str:
    """Tabulate the cost of inference."""
    costs = results.costs.assign(parameters=results.costs.parameters / 1e6, flops=results.costs.flops / 1e9)
    heads = dict(input='input size', parameters='parameters (M)', flops='GFLOPs', milliseconds='latency (ms)')
    costs[[*heads][1:3]] = costs[[*heads][1:3]].map('{:.2f}'.format)
    costs.milliseconds = costs.milliseconds.map('{:.1f}'.format)
    return results.markdown(costs[[*heads]].rename(columns=heads))


def _class_gains(results: Results) -> pd.DataFrame:
    """Return the scores of every class in the first row, and the mean gains of the other rows."""
    first, gains = (runs.filter(regex=r'^(IoU|BF)\.').groupby(level=0).mean() for runs in (results.runs, results.gains))
    return pd.concat([first.loc[results.rows[:1]], gains.reindex(results.rows[1:])]).dropna(how='all')


def _draw_classes(data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10, 1.5 + 0.7 * len(data)), layout='constrained')
    style = dict(annot=True, fmt='+.1f', center=0, cmap='vlag_r', vmin=-10, vmax=10, cbar=False)
    for axes, score in zip(figure.subplots(2), ('IoU', 'BF')):
        part = data.filter(regex=rf'^{score}\.')
        names = [f'{name.split(".")[1]}\n{own:.1f}' for name, own in part.iloc[0].items()]
        sns.heatmap(part[1:], ax=axes, xticklabels=names, **style)
        axes.set(title=f'{score}: gain over "{data.index[0]}", whose {score} is below the classes', ylabel='')
        axes.tick_params(rotation=0)
    return figure


def _draw_curves(data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    axes = figure.subplots()
    sns.lineplot(data, x='iteration', y='mIoU', hue='row', palette='colorblind', errorbar=None, marker='o', ax=axes)
    axes.set(ylabel='mIoU on the validation set (%), mean over seeds')
    sns.despine(figure)
    return figure


def _sizes(results: Results) -> pd.DataFrame:
    """Return the scores and the input size of every row of a series."""
    scores = results.runs[['mIoU', 'mBF']].groupby(level=0).mean().reindex(results.rows)
    data = scores.join(results.costs[['series', 'input']]).query('series != ""').dropna()
    return data.assign(pixels=data.input.str.split('x', expand=True).astype(int).prod(axis=1))


def _draw_sizes(data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 4), layout='constrained')
    for axes, score in zip(figure.subplots(1, 2), ('mIoU', 'mBF')):
        sns.lineplot(data, x='pixels', y=score, hue='series', palette='colorblind', marker='o', ax=axes)
        axes.set(xscale='log', xlabel='input size', ylabel=f'{score} (%)')  # by area, small sizes would be too close
        axes.set_xticks(data.pixels.unique(), data.input.unique(), minor=False)
        axes.minorticks_off()
    sns.despine(figure)
    return figure


#: By the name that a grid's ``show`` has for them.
TABLES = dict(seeds=_seeds, classes=_classes, cost=_cost)
#: The data of a picture, and how to draw it.
PICTURES = dict(
    classes=(_class_gains, _draw_classes),
    curves=(lambda results: results.curves, _draw_curves),
    sizes=(_sizes, _draw_sizes),
)


def generate(grid: Grid, records: Path) -> dict[str, str]:
    """Return the tables of a grid, and the data of its pictures as CSV, by file name; none without runs."""
    results = Results(grid, records)
    if results.runs.empty:
        return {}
    texts = {f'{grid.name}.md': accuracy(results)}
    for name in grid.show:
        if name in TABLES:
            texts[f'{grid.name}_{name}.md'] = TABLES[name](results)
        if name in PICTURES:
            texts[f'{grid.name}_{name}.png'] = PICTURES[name][0](results).to_csv(float_format='%.2f')
    return texts


def readme(grids: dict[str, Grid], records: Path, document: str) -> str:
    """Return the README with its table."""
    columns = {}
    for name, network in README.items():
        results = Results(grids[name], records)
        columns.setdefault('input size', results.costs.input)
        columns[f'{network}: mIoU'] = results.spread('mIoU', digits=1)
        columns[f'{network}: mBF'] = results.mean('mBF', 1)
        columns[f'{network}: latency (ms)'] = results.costs.milliseconds.map('{:.1f}'.format)
    table = results.markdown(pd.DataFrame(columns).loc[README_ROWS])
    marked = r'(?s)(<!-- begin: camvid table -->\n).*(<!-- end: camvid table -->)'
    return re.sub(marked, lambda found: found[1] + table + found[2], document)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables and pictures of grids, and the table of the README."""
    parser = argparse.ArgumentParser('python -m projects.experiments.tables', description=main.__doc__)
    parser.add_argument('grids', nargs='*', type=Path, help='YAML files; if none, all committed ones and the README')
    parser.add_argument('--records', type=Path, default=FOLDER, help='folder of the records')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/_generated', help='folder to write to')
    args = parser.parse_args(argv)
    grids = {file.stem: load_grid(file) for file in args.grids or sorted(GRIDS.glob('*.yml'))}
    args.out.mkdir(parents=True, exist_ok=True)
    for grid in grids.values():
        for name, text in generate(grid, args.records).items():
            file = args.out / name
            if file.suffix == '.md':
                file.write_text(text, encoding='utf-8')
            else:
                _, draw = PICTURES[file.stem.rpartition('_')[2]]
                draw(pd.read_csv(StringIO(text), index_col=0)).savefig(file, dpi=120, metadata=dict(Description=text))
    if not args.grids:
        document = ROOT / 'README.md'
        document.write_text(readme(grids, args.records, document.read_text(encoding='utf-8')), encoding='utf-8')


if __name__ == '__main__':
    main()
