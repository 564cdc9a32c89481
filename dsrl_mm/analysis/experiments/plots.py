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

#: Classes of one line of bars: with nine rows, 54 bars, which a page's width still tells apart.
CLASSES_PER_LINE = 6


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _tidy(axes: Axes) -> Axes:
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)
    return axes


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.5), layout='constrained')
    return figure, _tidy(figure.subplots())


def plot_classes(results: dict[str, dict[int, dict]]) -> Figure:
    """IoU of every class, a bar per row, with the standard deviation over seeds (the paper's Fig. 6)."""
    names = class_names(results)
    lines = -(-len(names) // CLASSES_PER_LINE)
    per_line = -(-len(names) // lines)
    figure = Figure(figsize=(10, 0.6 + 2.4 * lines), layout='constrained')
    for i, axes in enumerate(figure.subplots(lines, squeeze=False).flat):
        _bars(_tidy(axes), results, names[i * per_line : (i + 1) * per_line])
        axes.set_xlim(-0.5, per_line - 0.5)
    handles, titles = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, titles, frameon=False, ncols=min(len(titles), 5), loc='outside upper left')
    return figure


def _bars(axes: Axes, results: dict[str, dict[int, dict]], names: Sequence[str]) -> None:
    width = 0.8 / sum(map(bool, results.values()))
    left = -0.4 + width / 2
    for i, (title, runs) in enumerate(results.items()):
        if not runs:
            continue
        found = {x: metric(runs, f'IoU.{name}') for x, name in enumerate(names)}
        found = {x: statistic for x, statistic in found.items() if statistic}
        axes.bar(
            [x + left for x in found],
            [statistic.mean for statistic in found.values()],
            0.9 * width,
            yerr=[statistic.std or 0 for statistic in found.values()],
            color=_colour(i),
            error_kw=dict(elinewidth=1, ecolor='0.4'),
            label=title,
        )
        left += width
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel('IoU (%)')
    axes.set_ylim(0, 100)


def plot_curves(results: dict[str, dict[int, dict]]) -> Figure:
    """Validation mIoU over iterations: a row's mean, and a band from its worst to its best seed."""
    figure, axes = _figure()
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
    figure, axes = _figure()
    ticks = {}
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
            axes.errorbar(pixels, means, spreads, color=_colour(i), marker='o', capsize=3, label=series)
    axes.legend(frameon=False, loc='upper left')
    axes.set_xscale('log')  # by area, small sizes would lie on each other
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.minorticks_off()
    axes.set_xlabel('pixels that the network reads')
    axes.set_ylabel('mIoU (%)')
    return figure


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the names of lines beside their right ends, moved apart, up and down, where they would overlap."""
    bottom, top = axes.get_ylim()
    ends = sorted(ends, key=lambda end: end[1])
    heights = _apart([y for _, y, _, _ in ends], 0.05 * (top - bottom), bottom, top)
    for (x, _, text, colour), height in zip(ends, heights):
        axes.annotate(text, (x, height), (8, 0), textcoords='offset points', va='center', color=colour)


def _apart(values: Sequence[float], gap: float, bottom: float, top: float) -> list[float]:
    """The nearest values, in the sum of squares, to increasing ones of which none is nearer than ``gap`` to the next.

    Isotonic regression by pooling neighbours, of the values less the room that those below them need; all between
    ``bottom`` and ``top``, where there is room.
    """
    pools = []  # each a mean and a size
    for i, value in enumerate(values):
        pools.append((value - i * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [((m * a + n * b) / (m + n), m + n)]
    pooled = [centre for centre, size in pools for _ in range(size)]
    highest = top - (len(values) - 1) * gap
    return [min(max(centre, bottom), highest) + i * gap for i, centre in enumerate(pooled)]
