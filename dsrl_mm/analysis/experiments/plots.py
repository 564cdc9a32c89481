"""The pictures of a grid: classes, curves, and accuracy against what the network reads."""

from collections.abc import Sequence
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .grid import Grid
from .results import metric
from .summary import class_names

__all__ = ['plot_classes', 'plot_curves', 'plot_sizes']

#: Okabe and Ito's, which the colour-blind can tell apart, grey first and a brown for their faint yellow.
COLOURS = ('#808080', '#0072b2', '#e69f00', '#009e73', '#d55e00', '#56b4e9', '#cc79a7', '#000000', '#8c564b')


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.subplots()
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)
    return figure, axes


def plot_classes(results: dict[str, dict[int, dict]]) -> Figure:
    """IoU of every class, a bar per row, with the standard deviation over seeds (the paper's Fig. 6)."""
    names = class_names(results)
    rows = {title: runs for title, runs in results.items() if runs}
    width = 0.8 / len(rows)
    figure, axes = _figure(max(7, 0.2 * len(names) * (len(rows) + 1)), 4)
    for i, (title, runs) in enumerate(rows.items()):
        found = {x: metric(runs, f'IoU.{name}') for x, name in enumerate(names)}
        found = {x: statistic for x, statistic in found.items() if statistic}
        axes.bar(
            [x + (i - (len(rows) - 1) / 2) * width for x in found],
            [statistic.mean for statistic in found.values()],
            0.9 * width,
            yerr=[statistic.std or 0 for statistic in found.values()],
            color=_colour([*results].index(title)),
            error_kw=dict(elinewidth=1, ecolor='0.2'),
            label=title,
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel('IoU (%)')
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, ncols=len(rows), loc='lower left', bbox_to_anchor=(0, 1))
    return figure


def plot_curves(results: dict[str, dict[int, dict]]) -> Figure:
    """Validation mIoU over iterations: a row's mean, and a band from its worst to its best seed."""
    figure, axes = _figure(7, 4.5)
    ends = []
    for i, (title, runs) in enumerate(results.items()):
        curves = [dict(result['curve']) for result in runs.values()]
        # A seed that was stopped while validating lacks that step.
        steps = sorted(set().union(*curves))
        if not steps:
            continue
        values = [[curve[step] for curve in curves if step in curve] for step in steps]
        axes.fill_between(steps, [*map(min, values)], [*map(max, values)], color=_colour(i), alpha=0.15, linewidth=0)
        axes.plot(steps, [*map(mean, values)], color=_colour(i), marker='.')
        ends.append((steps[-1], mean(values[-1]), title, _colour(i)))
    _label_ends(axes, ends)
    axes.set_xlabel('iteration')
    axes.set_ylabel('mIoU on the validation set (%)')
    return figure


def plot_sizes(grid: Grid, results: dict[str, dict[int, dict]], costs: dict) -> Figure:
    """The mIoU against the pixels that the network reads, a line per series (the paper's Fig. 1)."""
    figure, axes = _figure(7, 4.5)
    ends, ticks = [], {}
    for i, series in enumerate(dict.fromkeys(row.series for row in grid.rows if row.series)):
        points = []
        for row in grid.rows:
            statistic = metric(results[row.title], 'mIoU')
            if row.series == series and statistic:
                height, width = costs['rows'][row.title]['input']
                ticks[height * width] = f'{height}x{width}'
                points.append((height * width, statistic.mean, statistic.std or 0))
        if points:
            pixels, means, spreads = zip(*sorted(points))
            axes.errorbar(pixels, means, spreads, color=_colour(i), marker='o', capsize=3)
            ends.append((pixels[-1], means[-1], series, _colour(i)))
    _label_ends(axes, ends)
    axes.set_xscale('log')  # by area, small sizes would lie on each other
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.minorticks_off()
    axes.set_xlabel('pixels that the network reads')
    axes.set_ylabel('mIoU (%)')
    return figure


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the names of lines beside their right ends, moved apart where they would overlap."""
    bottom, top = axes.get_ylim()
    lowest = bottom
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        lowest = max(y, lowest)
        axes.annotate(text, (x, lowest), (8, 0), textcoords='offset points', va='center', color=colour)
        lowest += 0.05 * (top - bottom)
