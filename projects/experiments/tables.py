"""Write the tables and pictures of the documents from records: python -m projects.experiments.tables."""

import argparse
import re
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .config import ROOT
from .grid import GRIDS, Grid, load_grid
from .records import FOLDER, read_costs, read_records

__all__ = ['PICTURES', 'Results', 'main', 'readme', 'tables']

#: What the README's table has: the grids' networks and their rows.
README = dict(camvid_dabnet='DABNet', camvid_efficientnet_lite0='EfficientNet-Lite0')
MARKED = re.compile(r'(<!-- begin: camvid table -->\n).*?(<!-- end: camvid table -->)', re.DOTALL)
README_ROWS = ['baseline', '+ SSSR + SISR + FA', '+ SSSR early', '+ SSSR early + SISR', 'full size']


class Results:
    """Results of the runs of a grid.

    Args:
        grid (Grid): whose rows and seeds count.
        records (Path): folder of the records.

    Attributes:
        runs (pd.DataFrame): a line per run, by row and seed.
        gains (pd.DataFrame): the same, less the first row's run of the same seed.
        curves (pd.DataFrame): a line per validation: ``row``, ``iteration`` and ``mIoU``.
        costs (pd.DataFrame): a line per row, see :func:`~projects.experiments.cost.measure`.
    """

    def __init__(self, grid: Grid, records: Path):
        self.rows, found, lines, curves = [row.title for row in grid.rows], read_records(records), {}, []
        for row in grid.rows:
            for seed, run in found.get(row.id, dict(runs={}))['runs'].items():
                if int(seed) in grid.seeds:
                    memory = [note['peak_memory_mib'] for note in run['sessions'] if 'peak_memory_mib' in note]
                    training = dict(hours=run['train_seconds'] / 3600, GiB=max(memory, default=float('nan')) / 1024)
                    lines[row.title, int(seed)] = run['metrics'] | training
                    curves += [dict(row=row.title, iteration=step, mIoU=value) for step, value in run['curve']]
        index = pd.MultiIndex.from_arrays([*zip(*lines)] or [[], []], names=['', 'seed'])
        self.runs, self.curves = pd.DataFrame([*lines.values()], index, dtype=float), pd.DataFrame(curves)
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
        sign, groups = '+' * gains, (self.gains if gains else self.runs)[name].groupby(level=0)
        spread = groups.std().map(lambda std: '' if std != std else f' ± {std:.{digits}f}')
        return groups.mean().map(f'{{:{sign}.{digits}f}}'.format) + spread

    def markdown(self, columns: dict[str, pd.Series] | pd.DataFrame) -> str:
        """Make a table of texts with the rows in the grid's order."""
        table = pd.DataFrame(columns).reindex(self.rows).dropna(how='all').fillna('')
        return table.to_markdown(disable_numparse=True, colalign=['left'] + ['right'] * len(table.columns)) + '\n'


def accuracy(results: Results) -> str:
    """Tabulate the scores of every row, their gains over the first row, and the cost of training."""
    rebuilt = {'PSNR (dB)': 'sr/PSNR', 'SSIM': 'sr/SSIM'}
    return results.markdown(
        {
            'mIoU': results.spread('mIoU'),
            'gain': results.spread('mIoU', gains=True),
            'mBF': results.spread('mBF'),
            'mBF gain': results.spread('mBF', gains=True),
            **{head: results.mean(name) for head, name in rebuilt.items() if name in results.runs},
            'seeds': results.runs.mIoU.groupby(level=0).count().map(str),
            'hours': results.mean('hours'),
            'GiB': results.mean('GiB'),
        }
    )


def seeds(results: Results) -> str:
    """Tabulate the gains of every seed."""
    each = results.gains[['mIoU', 'mBF']].map('{:+.2f}'.format).groupby(level=0).agg(', '.join)
    return results.markdown(each.rename(columns='{} gain, by seed'.format))


def classes(results: Results) -> str:
    """Tabulate the IoU and the boundary F-score of every class, means over seeds."""
    tables = []
    for score in ('IoU', 'BF'):
        names = [name for name in results.runs if name.startswith(f'{score}.')]
        tables.append(results.markdown({name.replace('.', ' '): results.mean(name) for name in names}))
    return '\n'.join(tables)


def cost(results: Results) -> str:
    """Tabulate the cost of inference."""
    costs = results.costs
    return results.markdown(
        {
            'input size': costs['input'],
            'parameters (M)': (costs.parameters / 1e6).map('{:.2f}'.format),
            'GFLOPs': (costs.flops / 1e9).map('{:.2f}'.format),
            'latency (ms)': costs.milliseconds.map('{:.1f}'.format),
        }
    )


def _class_gains(results: Results) -> pd.DataFrame:
    """Compute mean gains by row, score and class, and the scores of the first row."""
    names = [name for score in ('IoU', 'BF') for name in results.runs if name.startswith(f'{score}.')]
    gains = results.gains[names].groupby(level=0).mean().reindex(results.rows[1:]).dropna(how='all')
    return pd.concat([results.runs[names].groupby(level=0).mean().loc[[results.rows[0]]], gains])


def _draw_classes(data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10, 1.5 + 0.7 * len(data)), layout='constrained')
    for axes, score in zip(figure.subplots(2), ('IoU', 'BF')):
        part = data.filter(regex=rf'^{score}\.')
        names = [f'{name.split(".")[1]}\n{part[name].iloc[0]:.1f}' for name in part]
        style = dict(annot=True, fmt='+.1f', center=0, cmap='vlag_r', vmin=-10, vmax=10, cbar=False)
        sns.heatmap(part.iloc[1:], ax=axes, xticklabels=names, **style)
        axes.set(title=f'{score}: gain over "{data.index[0]}", whose {score} is below the classes', ylabel='')
        axes.tick_params(rotation=0)
    return figure


def _draw_curves(data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    axes = figure.subplots()
    sns.lineplot(data, x='iteration', y='mIoU', hue='row', palette='colorblind', errorbar=None, marker='o', ax=axes)
    axes.set(ylabel='mIoU on the validation set (%), mean over seeds')
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def _sizes(results: Results) -> pd.DataFrame:
    """Return the scores and the input size of every row of a series."""
    scores = results.runs[['mIoU', 'mBF']].groupby(level=0).mean().reindex(results.rows)
    data = scores.join(results.costs[['series', 'input']]).query('series != ""').dropna()
    return data.assign(pixels=data['input'].map(lambda size: int(size.split('x')[0]) * int(size.split('x')[1])))


def _draw_sizes(data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 4), layout='constrained')
    for axes, score in zip(figure.subplots(1, 2), ('mIoU', 'mBF')):
        sns.lineplot(data, x='pixels', y=score, hue='series', palette='colorblind', marker='o', ax=axes)
        axes.set_xscale('log')  # by area, small sizes would lie on each other
        axes.set_xticks(data.pixels.unique(), data.input.unique())
        axes.minorticks_off()
        axes.set(xlabel='input size', ylabel=f'{score} (%)')
        axes.legend(frameon=False)
    sns.despine(figure)
    return figure


#: By the name that a grid shows them under.
TABLES: dict[str, Callable[[Results], str]] = dict(seeds=seeds, classes=classes, cost=cost)
#: What a picture shows, and how it is drawn.
PICTURES: dict[str, tuple[Callable[[Results], pd.DataFrame], Callable[[pd.DataFrame], Figure]]] = dict(
    classes=(_class_gains, _draw_classes),
    curves=(lambda results: results.curves, _draw_curves),
    sizes=(_sizes, _draw_sizes),
)


def tables(grid: Grid, records: Path) -> dict[str, str]:
    """Return the tables of a grid, and the data of its pictures as CSV, by file name."""
    results = Results(grid, records)
    if results.runs.empty:
        return {}
    texts = {f'{grid.name}.md': accuracy(results)}
    texts |= {f'{grid.name}_{name}.md': TABLES[name](results) for name in grid.show if name in TABLES}
    return texts | {
        f'{grid.name}_{name}.png': PICTURES[name][0](results).to_csv(float_format='%.2f')
        for name in grid.show
        if name in PICTURES
    }


def readme(grids: dict[str, Grid], records: Path) -> str:
    """Return the table of the README."""
    columns = []
    for name, network in README.items():
        results = Results(grids[name], records)
        columns += [] if columns else [results.costs['input'].rename('input size')]
        columns.append(results.spread('mIoU', digits=1).rename(f'{network}: mIoU'))
        columns.append(results.mean('mBF', digits=1).rename('mBF'))
        columns.append(results.costs.milliseconds.map('{:.1f}'.format).rename('latency (ms)'))
    return results.markdown(pd.concat(columns, axis=1).loc[README_ROWS])


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables and pictures of grids, and the table of the README."""
    parser = argparse.ArgumentParser('python -m projects.experiments.tables', description=main.__doc__)
    parser.add_argument('grids', nargs='*', type=Path, help='YAML files; all committed ones, and the README, if none')
    parser.add_argument('--records', type=Path, default=FOLDER, help='folder of the records')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/_generated', help='folder to write to')
    args = parser.parse_args(argv)
    grids = {file.stem: load_grid(file) for file in args.grids or sorted(GRIDS.glob('*.yml'))}
    args.out.mkdir(parents=True, exist_ok=True)
    for grid in grids.values():
        for name, text in tables(grid, args.records).items():
            file = args.out / name
            if file.suffix == '.md':
                file.write_text(text, encoding='utf-8')
            else:
                draw = PICTURES[file.stem.removeprefix(f'{grid.name}_')][1]
                draw(pd.read_csv(StringIO(text), index_col=0)).savefig(file, dpi=120, metadata=dict(Description=text))
    if not args.grids:
        document = ROOT / 'README.md'
        text = document.read_text(encoding='utf-8')
        document.write_text(MARKED.sub(lambda found: found[1] + readme(grids, args.records) + found[2], text))


if __name__ == '__main__':
    main()
