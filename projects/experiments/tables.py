"""Write the tables and pictures of the documents from records: python -m projects.experiments.tables."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from dsrl_mm.engine.arguments import run

from .config import ROOT
from .grid import GRIDS, Grid, load_grid
from .records import FOLDER, read_costs, read_records

#: The grid of the README's table.
README = 'camvid_frontier'
#: Style of line plots.
LINES = dict(kind='line', palette='colorblind', marker='o')


class Results:
    """Results of the runs of a grid, from a folder of records.

    Attributes:
        runs (pd.DataFrame): a line per run, by row and seed: its metrics, and the ``hours`` and ``GiB`` of training.
        gains (pd.DataFrame): the same, less the first row's run of the same seed.
        curves (pd.DataFrame): a line per validation: ``row``, ``seed``, ``iteration`` and ``mIoU``.
        costs (pd.DataFrame): a line per row, see :func:`~projects.experiments.cost.measure`; and its ``series``.
    """

    def __init__(self, grid: Grid, records: Path):
        found, lines, curves = read_records(records), {}, []
        for row, seed in ((row, seed) for row in grid.rows for seed in grid.seeds if (row.id, seed) in found):
            run = found[row.id, seed]
            memory = max(session.get('peak_memory_mib', 0) for session in run['sessions'])
            lines[row.title, seed] = run['metrics'] | dict(hours=run['train_seconds'] / 3600, GiB=memory / 1024)
            curves += [(row.title, seed, *point) for point in run['curve']]
        index = pd.MultiIndex.from_arrays([*zip(*lines)] or [[], []], names=['', 'seed'])
        self.runs = pd.DataFrame([*lines.values()], index, dtype=float)
        self.curves = pd.DataFrame(curves, columns=['row', 'seed', 'iteration', 'mIoU'])
        self.rows = [row.title for row in grid.rows]
        first = self.runs.index.get_level_values(0) == self.rows[0]
        self.gains = self.runs[~first].sub(self.runs[first].droplevel(0), level='seed').dropna(how='all')
        costs = read_costs(records, grid.name)
        costs = [costs.get(row.id, {}) | dict(series=row.series) for row in grid.rows]
        self.costs = pd.DataFrame(costs, pd.Index(self.rows, name=''))

    def mean(self, name: str, digits: int = 2, spread: bool = False) -> pd.Series:
        """Format the mean of a metric over seeds, by row; ``spread`` adds the standard deviation."""
        seeds = self.runs[name].groupby(level=0)
        texts = seeds.mean().map(f'{{:.{digits}f}}'.format, na_action='ignore')
        return texts + seeds.std().map(lambda std: f' ± {std:.{digits}f}' if spread and std == std else '')

    def gain(self, name: str) -> pd.Series:
        """Format the gain of a metric over the first row, by row, with its 95 % confidence interval.

        Student's interval of the difference of two means. The rows' standard deviations over seeds are pooled, since
        each row has few. There is no interval if no row has two seeds.
        """
        seeds = self.runs[name].dropna().groupby(level=0)
        mean, number, freedom = seeds.mean(), seeds.count(), (seeds.count() - 1).sum()
        if self.rows[0] not in mean:
            return pd.Series(dtype=object)
        gain = (mean - mean[self.rows[0]]).drop(self.rows[0])
        if not freedom:
            return gain.map('{:+.2f}'.format)
        pooled = (seeds.var().fillna(0) * (number - 1)).sum() / freedom
        half = student_t.ppf(0.975, freedom) * (pooled * (1 / number + 1 / number[self.rows[0]])) ** 0.5
        return pd.Series({row: f'{x:+.2f} ({x - half[row]:+.2f} to {x + half[row]:+.2f})' for row, x in gain.items()})

    def number(self) -> pd.Series:
        """Format the number of seeds, by row."""
        return self.runs.mIoU.groupby(level=0).count().map(str)

    def latency(self) -> pd.Series:
        """Format the milliseconds of one image, by row."""
        return self.costs.milliseconds.map('{:.1f}'.format, na_action='ignore')

    def markdown(self, columns: dict[str, pd.Series] | pd.DataFrame) -> str:
        """Make a table of texts with the rows in the grid's order."""
        table = pd.DataFrame(columns).reindex(self.rows).dropna(how='all').astype(object).fillna('')
        return table.to_markdown(disable_numparse=True, colalign=['left'] + ['right'] * len(table.columns)) + '\n'


def accuracy(results: Results) -> str:
    """Tabulate the scores of every row, their gains over the first row, and the cost of training."""
    columns = {}
    for score in ('mIoU', 'mBF'):
        columns |= {score: results.mean(score, spread=True), f'{score} gain': results.gain(score)}
    for head, name in {'PSNR (dB)': 'sr/PSNR', 'SSIM': 'sr/SSIM'}.items():
        if name in results.runs:
            columns[head] = results.mean(name)
    columns['seeds'] = results.number()
    return results.markdown(columns | {name: results.mean(name) for name in ('hours', 'GiB')})


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
    costs = results.costs
    columns = {'input size': costs.input, 'parameters (M)': costs.parameters / 1e6, 'GFLOPs': costs.flops / 1e9}
    columns |= {'memory (MiB)': costs.memory / 2**20, 'latency (ms)': results.latency()}
    texts = pd.DataFrame(columns).map(lambda x: f'{x:.2f}' if isinstance(x, float) else x, na_action='ignore')
    return results.markdown(texts)


def _class_gains(results: Results) -> tuple[pd.DataFrame, Figure]:
    """Draw the scores of every class in the first row, and the mean gains of the other rows."""
    first, gains = (runs.filter(regex=r'^(IoU|BF)\.').groupby(level=0).mean() for runs in (results.runs, results.gains))
    data = pd.concat([first.loc[results.rows[:1]], gains.reindex(results.rows[1:])]).dropna(how='all')
    figure = Figure(figsize=(10, 1.5 + 0.7 * len(data)), layout='constrained')
    style = dict(annot=True, fmt='+.1f', center=0, cmap='vlag_r', vmin=-10, vmax=10, cbar=False)
    for axes, score in zip(figure.subplots(2), ('IoU', 'BF')):
        part = data.filter(regex=rf'^{score}\.')
        names = [f'{name.split(".")[1]}\n{own:.1f}' for name, own in part.iloc[0].items()]
        sns.heatmap(part[1:], ax=axes, xticklabels=names, **style)
        axes.set(title=f'{score}: gain over "{data.index[0]}", whose {score} is below the classes', ylabel='')
        axes.tick_params(rotation=0)
    return data, figure


def _curves(results: Results) -> tuple[pd.DataFrame, Figure]:
    """Draw the mIoU on the validation set during training."""
    grid = sns.relplot(results.curves, x='iteration', y='mIoU', hue='row', errorbar=None, **LINES, height=4.5, aspect=2)
    return results.curves, grid.set(ylabel='mIoU on the validation set (%), mean over seeds').figure


def _latency(results: Results) -> str:
    """Tabulate the scores with the latency that they cost."""
    columns = {'input size': results.costs.input, 'latency (ms)': results.latency()}
    columns |= {score: results.mean(score, spread=True) for score in ('mIoU', 'mBF')}
    return results.markdown(columns | dict(seeds=results.number()))


def _against_latency(results: Results) -> tuple[pd.DataFrame, Figure]:
    """Draw the scores against the latency, by series, with standard deviations; markers tell the input sizes."""
    costs = results.costs[['series', 'input', 'milliseconds']].query('series != ""').dropna()
    runs = results.runs[['mIoU', 'mBF']].join(costs, on='', how='inner')
    data = runs[['mIoU', 'mBF']].groupby(level=0, sort=False).mean().join(costs)
    figure = Figure(figsize=(11, 4.5), layout='constrained')
    ticks = [2**i for i in range(12) if data.milliseconds.min() / 2 < 2**i < data.milliseconds.max() * 2]
    for axes, score in zip(figure.subplots(1, 2), ('mIoU', 'mBF')):
        keys = dict(x='milliseconds', y=score, hue='series', palette='colorblind', ax=axes)
        sns.lineplot(runs, **keys, errorbar='sd', err_style='bars', legend=False)
        sns.scatterplot(data, **keys, style='input', s=70, legend=score == 'mBF')
        axes.set(xscale='log', xlabel='latency (ms)', ylabel=f'{score} (%)', xticks=ticks, xticklabels=ticks)
        axes.minorticks_off()
    sns.move_legend(axes, 'upper left', bbox_to_anchor=(1, 1))
    return data, figure


#: By the name that a grid's ``show`` has for them.
TABLES = dict(seeds=_seeds, classes=_classes, cost=_cost, latency=_latency)
#: They return their data, too.
PICTURES = dict(classes=_class_gains, curves=_curves, latency=_against_latency)


def _write(grid: Grid, records: Path, out: Path) -> None:
    """Write the tables of a grid, and its pictures with their data as CSV; nothing without runs.

    What shows costs waits until they are measured, after the trainings.
    """
    results = Results(grid, records)
    if results.runs.empty:
        return
    if 'latency' not in grid.show:  # its table has the scores
        Path(out, f'{grid.name}.md').write_text(accuracy(results), encoding='utf-8')
    measured = 'input' in results.costs
    for name in [name for name in grid.show if measured or name not in ('cost', 'latency')]:
        if name in TABLES:
            Path(out, f'{grid.name}_{name}.md').write_text(TABLES[name](results), encoding='utf-8')
        if name in PICTURES:
            data, figure = PICTURES[name](results)
            metadata = dict(Description=data.to_csv(float_format='%.2f'))
            figure.savefig(out / f'{grid.name}_{name}.png', dpi=120, metadata=metadata)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables and pictures of grids, and the README's table."""
    parser = argparse.ArgumentParser('python -m projects.experiments.tables', description=main.__doc__)
    parser.add_argument('grids', nargs='*', type=Path, help='YAML files; if none, all committed ones and the README')
    parser.add_argument('--records', type=Path, default=FOLDER, help='folder of the records')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/_generated', help='folder to write to')
    args = parser.parse_args(argv)
    grids = {file.stem: load_grid(file) for file in args.grids or sorted(GRIDS.glob('*.yml'))}
    args.out.mkdir(parents=True, exist_ok=True)
    for grid in grids.values():
        _write(grid, args.records, args.out)
    if not args.grids:
        before, begin, _, end, after = re.split(
            '(<!-- (?:begin|end): camvid table -->\n)', Path(ROOT, 'README.md').read_text()
        )
        table = _latency(Results(grids[README], args.records))
        Path(ROOT, 'README.md').write_text(f'{before}{begin}{table}{end}{after}', encoding='utf-8')


if __name__ == '__main__':
    run(main)
