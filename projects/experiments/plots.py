"""The pictures of a grid: classes, curves, and accuracy against what the network reads."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .grid import Grid
from .results import compared, gain, metric
from .summary import class_names

__all__ = ['plot_classes', 'plot_curves', 'plot_sizes']

#: Okabe and Ito's, which the colour-blind can tell apart, grey first and a brown for their faint yellow.
COLOURS = ('#808080', '#0072b2', '#e69f00', '#009e73', '#d55e00', '#56b4e9', '#cc79a7', '#000000', '#8c564b')

#: Classes of one line of bars: with eight rows, 48 bars, which a page's width still tells apart.
CLASSES_PER_LINE = 6

#: Panels of one line of curves.
PANELS_PER_LINE = 4


def _colours(results: dict[str, dict[int, dict]]) -> dict[str, str]:
    """A colour for every row, the same in every picture."""
    return dict(zip(results, cycle(COLOURS)))


def _tidy(axes: Axes) -> Axes:
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)
    return axes


def plot_classes(results: dict[str, dict[int, dict]], score: str) -> Figure:
    """By how much every class is above the first row: a bar per row, with the standard deviation over seeds.

    The paper's Fig. 6, as differences: on an axis from 0 to 100, gains of a point or two are too small to be seen.

    Args:
        results (dict[str, dict[int, dict]]): by row and seed; :func:`~.results.compared` must find some.
        score (str): 'IoU' or 'BF', in percent.
    """
    names = class_names(results)
    lines = -(-len(names) // CLASSES_PER_LINE)
    per_line = -(-len(names) // lines)
    figure = Figure(figsize=(10, 0.8 + 2.4 * lines), layout='constrained')
    panels = figure.subplots(lines, squeeze=False, sharey=True)
    for i, axes in enumerate(panels.flat):
        _bars(_tidy(axes), results, score, names[i * per_line : (i + 1) * per_line])
        axes.set_xlim(-0.5, per_line - 0.5)
    handles, titles = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, titles, frameon=False, ncols=min(len(titles), 4), loc='outside upper left')
    figure.supylabel(f'points of {score} above "{next(iter(results))}"', fontsize='medium')
    return figure


def _bars(axes: Axes, results: dict[str, dict[int, dict]], score: str, names: Sequence[str]) -> None:
    rows, colours = compared(results), _colours(results)
    first = next(iter(results.values()))
    width = 0.8 / len(rows)
    for i, (title, runs) in enumerate(rows.items()):
        found = {x: gain(runs, first, f'{score}.{name}') for x, name in enumerate(names)}
        found = {x: statistic for x, statistic in found.items() if statistic}
        axes.bar(
            [x - 0.4 + (i + 0.5) * width for x in found],
            [statistic.mean for statistic in found.values()],
            0.9 * width,
            yerr=[statistic.std or 0 for statistic in found.values()],
            color=colours[title],
            error_kw=dict(elinewidth=1, ecolor='0.4'),
            label=title,
        )
    axes.axhline(0, color=colours[next(iter(results))], linewidth=1.5)
    own = [metric(first, f'{score}.{name}') for name in names]
    axes.set_xticks(range(len(names)), [f'{name}\n{own.mean:.1f}' if own else name for name, own in zip(names, own)])


def plot_curves(results: dict[str, dict[int, dict]]) -> Figure:
    """Validation mIoU over iterations: a panel per row beside the first row, which is in all of them, in grey.

    Lines are means over seeds, bands reach from the worst to the best seed.
    """
    colours = _colours(results)
    first, *others = results
    others = [title for title in others if results[title]] or [first]
    columns = min(len(others), PANELS_PER_LINE)
    lines = -(-len(others) // columns)
    figure = Figure(figsize=(max(2.6 * columns, 5), 0.5 + 2.3 * lines), layout='constrained')
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flat
    for title, axes in zip(others, panels):
        for row in dict.fromkeys((first, title)):
            _curve(axes, results[row].values(), colours[row])
        _tidy(axes).set_title(title, color=colours[title], fontsize='medium')
    for axes in panels:  # those that are left
        axes.set_visible(False)
    figure.supxlabel('iteration', fontsize='medium')
    figure.supylabel('mIoU on the validation set (%)', fontsize='medium')
    return figure


def _curve(axes: Axes, runs: Iterable[dict], colour: str) -> None:
    curves = [dict(result['curve']) for result in runs]
    # A seed that was stopped while validating lacks that step.
    steps = sorted(set().union(*curves))
    values = [[curve[step] for curve in curves if step in curve] for step in steps]
    axes.fill_between(steps, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.2, linewidth=0)
    axes.plot(steps, [*map(mean, values)], color=colour, marker='.')


def plot_sizes(grid: Grid, results: dict[str, dict[int, dict]], costs: dict) -> Figure:
    """The mIoU and mBF against the pixels that the network reads, a line per series (the paper's Fig. 1)."""
    scores = [score for score in ('mIoU', 'mBF') if any(metric(runs, score) for runs in results.values())]
    figure = Figure(figsize=(5 * len(scores), 4), layout='constrained')
    for score, axes in zip(scores, figure.subplots(1, len(scores), squeeze=False).flat):
        _sizes(_tidy(axes), grid, results, costs, score)
    figure.axes[0].legend(frameon=False, loc='upper left')
    return figure


def _sizes(axes: Axes, grid: Grid, results: dict[str, dict[int, dict]], costs: dict, score: str) -> None:
    ticks = {}
    for colour, series in zip(cycle(COLOURS), dict.fromkeys(row.series for row in grid.rows if row.series)):
        points = []
        for row in grid.rows:
            statistic = metric(results[row.title], score)
            if row.series == series and statistic:
                height, width = costs['rows'][row.title]['input']
                ticks[height * width] = f'{height}x{width}'
                points.append((height * width, statistic.mean, statistic.std or 0))
        if points:
            pixels, means, spreads = zip(*sorted(points))
            axes.plot(pixels, means, color=colour, marker='o', label=series)
            axes.errorbar(pixels, means, spreads, color=colour, linestyle='', capsize=3)
    axes.set_xscale('log')  # by area, small sizes would lie on each other
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.minorticks_off()
    axes.set_xlabel('pixels that the network reads')
    axes.set_ylabel(f'{score} (%)')
