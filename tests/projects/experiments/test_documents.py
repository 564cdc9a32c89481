"""The tables of accuracy that documents repeat are of the shipped results."""

import json
from statistics import mean

import pytest

from projects.experiments.grid import ROOT, load_grid
from projects.experiments.results import Statistic, gain, metric, read_results
from projects.experiments.summary import class_names

GRIDS = ('camvid_dabnet', 'camvid_efficientnet_lite0')  # in the order of the columns


def table(document: str, first: str) -> dict[str, list[str]]:
    """The rows below the head that starts with ``first``, by title."""
    _, rest = (ROOT / document).read_text(encoding='utf-8').split(f'\n{first}', 1)
    lines = rest.split('\n\n')[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    return {title: rest for title, *rest in cells}


def number(statistic, form: str) -> str:
    spread = '' if statistic.std is None else f' ± {statistic.std:{form.removeprefix("+")}}'
    return f'{statistic.mean:{form}}{spread}'


def results_of(name: str) -> dict[str, dict[int, dict]]:
    return read_results(load_grid(ROOT / f'projects/experiments/grids/{name}.yml'), ROOT / 'docs/experiments/runs')


@pytest.fixture(scope='module')
def results():
    return [results_of(name) for name in GRIDS]


def test_every_row_has_three_seeds(results):
    assert all(set(runs) == {0, 1, 2} for network in results for runs in network.values())


def test_results_over_seeds(results):
    expected = {title: [] for title in results[0]}
    for network in results:
        for title, runs in network.items():
            difference = '' if title == 'baseline' else number(gain(runs, network['baseline'], 'mIoU'), '+.2f')
            scores = [number(metric(runs, name), '.2f') for name in ('mIoU', 'mBF')]
            expected[title] += [scores[0], difference, scores[1]]
    assert table('docs/results.md', '| | DABNet: mIoU | gain') == expected


def test_gains_of_every_seed(results):
    expected = {title: [] for title in results[0] if title != 'baseline'}
    for network in results:
        for title, cells in expected.items():
            for name in ('mIoU', 'mBF'):
                pairs = [(network[title][seed], network['baseline'][seed]) for seed in range(3)]
                gains = (ours['metrics'][name] - theirs['metrics'][name] for ours, theirs in pairs)
                cells.append(', '.join(f'{difference:+.2f}' for difference in gains))
    assert table('docs/results.md', '| | DABNet: mIoU | mBF |') == expected


def test_gains_of_the_last_three_validations(results):
    def score(result):
        steps, values = zip(*result['curve'][-3:])
        assert steps == (3640, 4550, 5460)
        return mean(values)

    expected = {title: [] for title in results[0] if title != 'baseline'}
    for network in results:
        for title, cells in expected.items():
            pairs = ((network[title][seed], network['baseline'][seed]) for seed in range(3))
            cells.append(number(Statistic.of(score(ours) - score(theirs) for ours, theirs in pairs), '+.2f'))
    assert table('docs/results.md', '| gain of mIoU | DABNet') == expected


def test_what_is_missing_to_the_full_size(results):
    listed = ['SignSymbol', 'Car', 'Bicyclist', 'Pedestrian', 'Pole']
    expected = {}
    for label, network in zip(('DABNet', 'EfficientNet-Lite0'), results):
        for score in ('IoU', 'BF'):
            for title in ('full size', '+ SSSR early + SISR'):

                def above(name, runs=network[title], baseline=network['baseline']):
                    return metric(runs, name).mean - metric(baseline, name).mean

                classes = {name: above(f'{score}.{name}') for name in class_names(network)}
                others = [difference for name, difference in classes.items() if name not in listed]
                cells = [f'{above(f"m{score}"):.1f}', *(f'{classes[name]:.1f}' for name in listed)]
                title = title.removeprefix('+ ')
                expected[f'{label}, {score}: {title}'] = [*cells, f'{min(others):.1f} to {max(others):.1f}']
    assert table('docs/results.md', '| | all | SignSymbol') == expected


def test_variants():
    results = results_of('camvid_efficientnet_lite0_variants')
    whole = next(iter(results.values()))
    expected = {}
    for title, runs in results.items():
        difference = '' if runs is whole else number(gain(runs, whole, 'mIoU'), '+.2f')
        expected[title] = [number(metric(runs, 'mIoU'), '.2f'), difference, number(metric(runs, 'mBF'), '.2f')]
    assert table('docs/results.md', '| variant | mIoU') == expected


def test_what_sisr_rebuilds():
    expected = {
        title: [number(metric(runs, name), '.2f') for name in ('mIoU', 'mBF', 'sr/PSNR', 'sr/SSIM')]
        for title, runs in results_of('camvid_efficientnet_lite0_sisr').items()
    }
    assert table('docs/results.md', '| what SISR reads |') == expected


def test_longer_training():
    expected = {}
    for title, runs in results_of('camvid_efficientnet_lite0_90_epochs').items():
        seeds = ', '.join(f'{runs[seed]["metrics"]["mIoU"]:.2f}' for seed in sorted(runs))
        expected[title] = [number(metric(runs, 'mIoU'), '.2f'), seeds, number(metric(runs, 'mBF'), '.2f')]
    assert table('docs/results.md', '| 90 epochs |') == expected


def test_the_readmes_table(results):
    titles = ['baseline', '+ SSSR + SISR + FA', '+ SSSR early', '+ SSSR early + SISR', 'full size']
    costs = [json.loads((ROOT / f'docs/experiments/{name}/cost.json').read_text())['rows'] for name in GRIDS]
    expected = {}
    for title in titles:
        height, width = costs[0][title]['input']
        expected[title] = [f'{height}x{width}']
        for network, cost in zip(results, costs):
            runs = network[title]
            scores = [number(metric(runs, 'mIoU'), '.1f'), f'{metric(runs, "mBF").mean:.1f}']
            expected[title] += [*scores, f'{cost[title]["milliseconds"]:.1f}']
    assert table('README.md', '| | reads | DABNet: mIoU') == expected


def test_core_hours():
    results = [json.loads(file.read_text()) for file in (ROOT / 'docs/experiments/runs').glob('*.json')]
    hours = sum(result['train_seconds'] for result in results) / 3600
    assert f'took {hours:.0f} core-hours of training' in (ROOT / 'docs/results.md').read_text(encoding='utf-8')
