"""The tables of a grid: accuracy, every class, and cost."""

from collections.abc import Iterable

from .grid import Grid
from .markdown import markdown_table
from .results import Statistic, compared, gain, metric

__all__ = ['SCORES_OF_CLASSES', 'class_names', 'pictures', 'summary']

_MISSING = '-'
#: By the name of the picture.
SCORES_OF_CLASSES = dict(classes='IoU', boundaries='BF')


def _text(statistic: Statistic | None, sign: str = '') -> str:
    """Mean and standard deviation, to two digits."""
    if statistic is None:
        return _MISSING
    spread = '' if statistic.std is None else f' ± {statistic.std:.2f}'
    return f'{statistic.mean:{sign}.2f}{spread}'


def _mean(statistic: Statistic | None) -> str:
    return _MISSING if statistic is None else f'{statistic.mean:.2f}'


def _peak_memory(result: dict) -> float | None:
    """The most of those sessions that ended, in MiB."""
    return max((note['peak_memory_mib'] for note in result['sessions'] if 'peak_memory_mib' in note), default=None)


def _accuracy(results: dict[str, dict[int, dict]]) -> str:
    """A line per row: its scores, its gain over the first row, and what training it took."""
    first = next(iter(results.values()))
    optional = [name for name in ('sr/PSNR', 'sr/SSIM') if any(metric(runs, name) for runs in results.values())]
    lines = [['', 'mIoU', 'seeds', 'gain', 'mBF', 'mBIoU', *optional, 'hours', 'GiB']]
    for title, runs in results.items():
        hours = Statistic.of(result['train_seconds'] / 3600 for result in runs.values())
        memory = Statistic.of(_peak_memory(result) for result in runs.values())
        lines.append(
            [
                title,
                _text(metric(runs, 'mIoU')),
                str(len(runs)),
                _MISSING if runs is first else _text(gain(runs, first, 'mIoU'), '+'),
                _text(metric(runs, 'mBF')),
                _text(metric(runs, 'mBIoU')),
                *(_mean(metric(runs, name)) for name in optional),
                _mean(hours),
                _MISSING if memory is None else f'{memory.mean / 1024:.2f}',
            ]
        )
    return markdown_table(lines)


def class_names(results: dict[str, dict[int, dict]]) -> list[str]:
    """The classes that any run was tested on, in the data set's order."""
    names = (name for runs in results.values() for result in runs.values() for name in result['metrics'])
    return list(dict.fromkeys(name.removeprefix('IoU.') for name in names if name.startswith('IoU.')))


def _classes(results: dict[str, dict[int, dict]], prefix: str) -> str:
    """A line per row: a score of every class, means over seeds."""
    names = class_names(results)
    lines = [
        [title, *(_mean(metric(runs, f'{prefix}.{name}')) for name in names)] for title, runs in results.items() if runs
    ]
    return markdown_table([['', *names], *lines])


def _cost(costs: dict) -> str:
    lines = [['', 'network reads', 'parameters (M)', 'GFLOPs', 'ms/image']]
    for title, cost in costs['rows'].items():
        height, width = cost['input']
        numbers = (cost['parameters'] / 1e6, cost['flops'] / 1e9, cost['milliseconds'])
        lines.append([title, f'{height}x{width}', *(f'{number:.2f}' for number in numbers)])
    return markdown_table(lines)


def _each(texts: Iterable[str]) -> str:
    return ' / '.join(dict.fromkeys(texts))


def _commit(code: dict | None) -> str:
    return 'outside git' if code is None else code['commit'][:7] + (' with changes' if code['dirty'] else '')


def pictures(grid: Grid, results: dict[str, dict[int, dict]]) -> dict[str, str]:
    """What there is to draw, as Markdown with its caption, by the name of the picture's file."""
    first = grid.rows[0].title
    several = len(grid.seeds) > 1
    trained, others = any(results.values()), compared(results).values()
    texts = {}
    if trained and any(row.series for row in grid.rows):
        texts['sizes'] = '![mIoU and mBF against what the network reads](sizes.png)'
    if trained:
        bands = ' Lines are means over seeds, bands reach from the worst to the best seed.' if several else ''
        texts['curves'] = f'![mIoU on the validation set while training](curves.png)\n\nIn grey: {first}.{bands}'
    for name, score in SCORES_OF_CLASSES.items():
        scores = [f'{score}.{label}' for label in class_names(results)]
        if any(gain(runs, results[first], label) for runs in others for label in scores):
            spread = ' Thin lines: their standard deviation over seeds.' if several else ''
            texts[name] = (
                f'![{score} of every class above that of the first row]({name}.png)\n\n'
                f'Differences to the {score} of "{first}", which is below the names, with the same seeds.{spread}'
            )
    return texts


def summary(grid: Grid, results: dict[str, dict[int, dict]], costs: dict) -> str:
    """The document, in Markdown.

    Args:
        grid (Grid): what was to be done.
        results (dict[str, dict[int, dict]]): by row and seed, as far as they are there.
        costs (dict): from :func:`~projects.experiments.cost.costs`.
    """
    done = [result for runs in results.values() for result in runs.values()]
    sessions = [note for result in done for note in result['sessions']]
    devices = _each(note['device'] for note in sessions)
    if grid.amp and ' / ' in devices:
        devices += ' (where CPUs compute in bfloat16, GPUs in float16)'
    tested = [result['tested_by'] for result in done if 'tested_by' in result]
    commits = _each(_commit(code) for code in [*(note['code'] for note in sessions), *tested])
    parts = [f'# {grid.title}']
    if done:
        parts += [
            f'{len(done)} of {len(grid.rows) * len(grid.seeds)} runs, at commit {commits}, on {devices}. Tested on '
            f'{_each(row.tested_on for row in grid.rows)}. Mean ± '
            'standard deviation of the sample over seeds; last checkpoints. Gain: of mIoU over the first row, on the '
            'seeds that both rows have. Scores in percent, PSNR in dB. mBF and mBIoU are of boundaries '
            '(`BoundaryMetric`). Hours of training a run, at its median pace, and the most memory of its main process '
            '(or of its GPU) are means over seeds, beside other runs.',
            _accuracy(results).rstrip(),
        ]
    drawn = pictures(grid, results)
    parts += [drawn[name] for name in ('sizes', 'curves') if name in drawn]
    if class_names(results):
        for name, score in SCORES_OF_CLASSES.items():
            parts += [f'## {score} of every class', _classes(results, score).rstrip()]
            parts += [drawn[name]] if name in drawn else []
    parts += [
        '## Cost of inference',
        f'Without what only training needs, one image at a time, on {costs["device"]}, {costs["threads"]} '
        'thread(s): the median while the rows took turns. A multiply-add counts as 2.',
        _cost(costs).rstrip(),
    ]
    return '\n\n'.join(parts) + '\n'
