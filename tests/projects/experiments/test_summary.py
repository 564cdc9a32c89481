"""Tables and pictures of results, with numbers worked out by hand; and those that are shipped."""

import json

import cv2
import pytest
from matplotlib.colors import to_hex

from projects.experiments import main as module
from projects.experiments.grid import ROOT, load_grid
from projects.experiments.plots import CLASSES_PER_LINE, plot_classes, plot_curves, plot_sizes
from projects.experiments.results import Statistic, gain, metric, read_results
from projects.experiments.summary import summary

from .grids import CONFIGS, make_grid, write_result

COSTS = dict(
    device='a CPU',
    threads=1,
    rows={
        'baseline': dict(input=[96, 192], parameters=3_090_000, flops=1_910_000_000, milliseconds=10.0),
        'DSRL': dict(input=[48, 96], parameters=3_160_000, flops=2_080_000_000, milliseconds=11.0),
    },
)


@pytest.fixture
def grid(tmp_path):
    """The baseline has the seeds 0 and 1, DSRL only 1."""
    rows = {title: dict(config=config, series=title) for title, config in CONFIGS.items()}
    grid = make_grid(tmp_path, rows=rows)
    one, other, three, four = grid.runs()
    write_result(one, tmp_path / 'runs', 50.0)
    write_result(three, tmp_path / 'runs', 54.0, train_seconds=10800.0)
    tested_by = dict(commit='abcdef0123', dirty=True)
    write_result(four, tmp_path / 'runs', 55.0, train_seconds=10800.0, metrics={'sr/PSNR': 20.0}, tested_by=tested_by)
    return grid


def test_statistics_by_hand():
    assert Statistic.of([1.0, 2.0, 6.0]) == Statistic(3.0, pytest.approx(7**0.5))  # (4 + 1 + 9) / 2
    assert Statistic.of([5.0, None]) == Statistic(5.0, None)
    assert Statistic.of([None]) is None


def test_gain_is_of_the_seeds_that_both_have(grid, tmp_path):
    results = read_results(grid, tmp_path / 'runs')
    assert metric(results['baseline'], 'mIoU') == Statistic(52.0, pytest.approx(8**0.5))
    assert gain(results['DSRL'], results['baseline'], 'mIoU') == Statistic(1.0, None)


def cells(document: str, title: str, table: int) -> list[str]:
    lines = [line for line in document.splitlines() if line.startswith(f'| {title} ')]
    return [cell.strip() for cell in lines[table].split('|')[2:-1]]


def test_tables_by_hand(grid, tmp_path):
    document = summary(grid, read_results(grid, tmp_path / 'runs'), COSTS)
    assert document.startswith('# A toy\n\n3 of 4 runs, at commit 0123456 / abcdef0 with changes, on a CPU.')
    assert ' Tested on StreetSceneDataset images/val.' in document
    head = ['mIoU', 'seeds', 'gain', 'mBF', 'mBIoU', 'sr/PSNR', 'hours', 'GiB']
    assert cells(document, ' ', 0) == head
    expected = ['52.00 ± 2.83', '2', '-', '26.00 ± 1.41', '13.00 ± 0.71', '-', '2.00', '1.00']
    assert cells(document, 'baseline', 0) == expected
    assert cells(document, 'DSRL', 0) == ['55.00', '1', '+1.00', '27.50', '13.75', '20.00', '3.00', '1.00']
    assert cells(document, 'baseline', 1) == ['52.00', '52.00']  # IoU of road and pole
    assert cells(document, 'baseline', 2) == ['26.00', '-']  # BF: no run has one of the pole
    assert cells(document, 'DSRL', 3) == ['48x96', '3.16', '2.08', '11.00']


def test_memory_is_the_most_of_a_run_s_sessions(grid, tmp_path):
    note = dict(code=None, device='a CPU')
    sizes = ({}, dict(peak_memory_mib=1024.0), dict(peak_memory_mib=3072.0))
    for run, notes in zip(grid.runs(), (sizes, sizes[:1], sizes[:2], sizes[:1])):
        write_result(run, tmp_path / 'runs', 50.0, sessions=[note | size for size in notes])
    document = summary(grid, read_results(grid, tmp_path / 'runs'), COSTS)
    assert cells(document, 'baseline', 0)[-1] == '2.00'  # of 3 and 1 GiB
    assert cells(document, 'DSRL', 0)[-1] == '-'


def test_devices_that_compute_otherwise_are_named(tmp_path):
    grid = make_grid(tmp_path, amp=True)
    for run, device in zip(grid.runs(), ('a CPU', 'a GPU')):
        write_result(run, tmp_path / 'runs', 50.0, sessions=[dict(code=None, device=device)])
    document = summary(grid, read_results(grid, tmp_path / 'runs'), COSTS)
    assert 'on a CPU / a GPU (where CPUs compute in bfloat16, GPUs in float16).' in document


def test_files_are_written_from_results_alone(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'costs', lambda grid, file: COSTS)
    assert module.summarize(grid, tmp_path / 'runs', tmp_path) == tmp_path / 'summary.md'
    for name in ('classes', 'boundaries', 'curves', 'sizes'):
        assert f'({name}.png)' in (tmp_path / 'summary.md').read_text()
        colours = set(map(tuple, cv2.imread(str(tmp_path / f'{name}.png')).reshape(-1, 3).tolist()))
        assert {(0x80, 0x80, 0x80), (0xB2, 0x72, 0x00)} <= colours  # of both rows, BGR


def test_captions_speak_of_seeds_where_there_are_several(grid, tmp_path):
    several = summary(grid, read_results(grid, tmp_path / 'runs'), COSTS)
    assert 'bands reach from' in several and 'standard deviation over seeds.\n' in several
    one = make_grid(tmp_path, seeds=[1])
    document = summary(one, read_results(one, tmp_path / 'runs'), COSTS)
    assert 'In grey: baseline.\n' in document and 'with the same seeds.\n' in document


def test_a_row_has_the_same_colour_in_every_picture(grid, tmp_path):
    baseline, dsrl = read_results(grid, tmp_path / 'runs').values()
    results = {'baseline': baseline, 'not trained yet': {}, 'DSRL': dsrl}
    (bars,), (lines,) = plot_classes(results, 'IoU').axes, plot_curves(results).axes
    first, last = (line.get_color() for line in lines.lines)
    assert {to_hex(bar.get_facecolor()) for bar in bars.patches} == {last} != {first}
    assert lines.get_title() == 'DSRL'


def test_bars_are_the_gains_of_the_seeds_that_both_have(grid, tmp_path):
    results = read_results(grid, tmp_path / 'runs')
    (axes,) = plot_classes(results, 'IoU').axes
    assert [bar.get_height() for bar in axes.patches] == [1.0, 1.0]  # 55 and 54, of seed 1
    assert [label.get_text() for label in axes.get_xticklabels()] == ['road\n52.0', 'pole\n52.0']
    (axes,) = plot_classes(results, 'BF').axes
    assert [bar.get_height() for bar in axes.patches] == [0.5]  # no run has one of the pole
    assert [label.get_text() for label in axes.get_xticklabels()] == ['road\n26.0', 'pole']


def test_many_classes_are_lines_of_bars(grid, tmp_path):
    results = read_results(grid, tmp_path / 'runs')
    for factor, runs in enumerate(results.values(), start=1):
        for result in runs.values():
            result['metrics'] = {f'IoU.{i}': float(factor * i) for i in range(2 * CLASSES_PER_LINE + 1)}
    lines = plot_classes(results, 'IoU').axes
    assert [len(axes.get_xticks()) for axes in lines] == [5, 5, 3]
    heights = [[bar.get_height() for bar in axes.patches] for axes in lines]
    assert heights == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12]]


def test_a_row_alone_has_a_curve_and_no_bars(grid, tmp_path):
    results = read_results(grid, tmp_path / 'runs')
    document = summary(grid, results | {'DSRL': {}}, COSTS)
    assert '(curves.png)' in document and '(classes.png)' not in document
    (axes,) = plot_curves(results | {'DSRL': {}}).axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[10, 26], [20, 52]]]


def test_a_step_that_one_seed_lacks_is_the_others(grid, tmp_path):
    for run, curve in zip(grid.runs(), ([[10, 20.0], [20, 50.0]], [], [[20, 60.0]], [])):
        write_result(run, tmp_path / 'runs', 50.0, curve=curve)
    (axes,) = plot_curves(read_results(grid, tmp_path / 'runs')).axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[10, 20], [20, 55]], []]


def test_sizes_have_a_panel_per_score(grid, tmp_path):
    miou, mbf = plot_sizes(grid, read_results(grid, tmp_path / 'runs'), COSTS).axes
    assert [line.get_xydata().tolist() for line in miou.lines[::4]] == [[[96 * 192, 52]], [[48 * 96, 55]]]
    assert mbf.get_ylabel() == 'mBF (%)' and mbf.lines[0].get_xydata().tolist() == [[96 * 192, 26]]


def test_metrics_without_classes(tmp_path, monkeypatch):
    """As of MMSegmentation's own ``IoUMetric``."""
    monkeypatch.setattr(module, 'costs', lambda grid, file: COSTS)
    grid = make_grid(tmp_path)
    for run in grid.runs():
        write_result(run, tmp_path / 'runs', 50.0)
        file = tmp_path / 'runs' / f'{run.id}.json'
        result = json.loads(file.read_text())
        result['metrics'] = {'mIoU': 50.0}
        file.write_text(json.dumps(result))
    document = module.summarize(grid, tmp_path / 'runs', tmp_path).read_text()
    assert cells(document, 'baseline', 0)[0] == '50.00 ± 0.00'
    assert 'classes.png' not in document and not (tmp_path / 'classes.png').exists()
    assert '(curves.png)' in document and (tmp_path / 'curves.png').exists()


def test_nothing_done_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'costs', lambda grid, file: COSTS)
    document = module.summarize(make_grid(tmp_path), tmp_path / 'runs', tmp_path).read_text()
    assert 'ms/image' in document and 'mIoU' not in document
    assert [*tmp_path.glob('*.png')] == []


def test_grids_share_results_of_the_same_settings(grid, tmp_path):
    rows = {
        'another title': dict(config=CONFIGS['baseline']),
        'other options': dict(config=CONFIGS['baseline'], options={'train_cfg.max_iters': 9}),
    }
    results = read_results(make_grid(tmp_path, name='other', rows=rows), tmp_path / 'runs')
    assert metric(results['another title'], 'mIoU') == Statistic(52.0, pytest.approx(8**0.5))
    assert not results['other options']
    assert not any(read_results(make_grid(tmp_path, amp=True), tmp_path / 'runs').values())


SHIPPED = sorted((ROOT / 'docs/experiments').glob('*/summary.md'))


def test_summaries_are_shipped():
    assert SHIPPED


@pytest.mark.parametrize('file', SHIPPED, ids=lambda file: file.parent.name)
def test_shipped_summaries_are_of_the_shipped_results(file):
    """After results come in, also for a grid that shares them: ``tools/run_experiments.py GRID --summary-only``."""
    grid = load_grid(ROOT / f'projects/experiments/grids/{file.parent.name}.yml')
    cost = json.loads((file.parent / 'cost.json').read_text())
    assert cost['digests'] == {row.title: row.digest for row in grid.rows}
    results = read_results(grid, ROOT / 'docs/experiments/runs')
    assert file.read_text(encoding='utf-8') == summary(grid, results, cost)
