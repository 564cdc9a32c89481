"""The grid file and the configs that it composes: what they stand for, and what is wrong with them."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from dsrl_mm.engine.loading import without_pretrained
from projects.experiments.config import ROOT, compose, differences, read_text
from projects.experiments.grid import GRIDS, Row, load_grid
from projects.experiments.records import FOLDER, read_records

from .grids import DSRL, write_grid


def row(**keys) -> dict:
    return dict(a=dict(id='a', config=DSRL) | keys)


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(seed=[0]), "toy.yml: .*unexpected keyword argument 'seed'"),
        (dict(rows=row(option={})), "toy.yml: row 'a': .*unexpected keyword argument 'option'"),
        (dict(rows=dict(a=dict(config=DSRL))), "row 'a': .* missing .* 'id'"),
        (dict(rows=row(options=None)), "row 'a': options must be a mapping, got None"),
        (dict(rows=row(id='a/b')), "row 'a': id must be fit for a file name, got 'a/b'"),
        (dict(rows=row() | dict(b=dict(id='a', config=DSRL))), r"different ids, got \['a', 'a'\]"),
        (dict(rows=[DSRL]), 'toy.yml: rows must map titles to mappings'),
        (dict(seeds=3), 'toy.yml: seeds must be different whole numbers, got 3'),
        (dict(seeds=[]), 'seeds must be different whole numbers'),
        (dict(seeds=[0, 0]), 'seeds must be different whole numbers'),
        (dict(seeds=[True]), 'seeds must be different whole numbers'),
        (dict(amp='false'), "toy.yml: amp must be true or false, got 'false'"),
        (dict(show=['size']), 'show must list some of seeds, classes, cost, curves, latency'),
    ],
)
def test_mistakes_are_named(tmp_path, keys, message):
    with pytest.raises(ValueError, match=message):
        load_grid(write_grid(tmp_path, **keys))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'rows must map titles to mappings, got None'),
        (b'- a', 'rows must map titles to mappings, got None'),
        (b'rows: {}', 'rows must map titles to mappings, got {}'),
        (b'rows: {a: ', '(?s:.)* line 1, column 11'),
        (b'rows: {a: {id: b}, a: {id: c}}', "'a' is given twice"),
        (b'\xff\x00', "'utf-8' codec can't decode"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, content, message):
    file = tmp_path / 'toy.yml'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f'{file}: {message}'):
        load_grid(file)


def test_options_may_be_any_value():
    hooks = [dict(type='LabelCheckHook'), dict(type='EMAHook', momentum=0.002)]
    options = {'custom_hooks': hooks, 'model.sr_aux.fa': dict(type='FALoss'), 'model.sr_aux.head.in_index': [0, 1]}
    options |= {'optim_wrapper': dict(optimizer=dict(lr=0.25)), 'param_scheduler.0.end': 7}
    cfg = Config(read_text(compose(Row('a', 'a', DSRL, options), amp=True)))
    expected = Config.fromfile(ROOT / DSRL)
    assert cfg.custom_hooks == hooks
    assert cfg.model.sr_aux == expected.model.sr_aux | dict(
        fa=dict(type='FALoss'), head=expected.model.sr_aux.head | dict(in_index=[0, 1])
    )
    assert cfg.optim_wrapper.optimizer == expected.optim_wrapper.optimizer | dict(lr=0.25)
    assert cfg.param_scheduler[0].end == 7
    assert cfg.optim_wrapper.type != 'OptimWrapper'  # amp
    assert [metric['type'] for metric in cfg.test_evaluator] == ['ClassIoUMetric', 'BoundaryMetric']


def test_texts_are_the_configs_on_every_machine(monkeypatch, tmp_path):
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    text = compose(Row('a', 'a', DSRL), amp=False)
    assert str(tmp_path) not in text
    here, expected = Config.fromstring(text, '.py'), Config.fromfile(ROOT / DSRL)
    assert here.train_dataloader.dataset.data_root == str(tmp_path)
    assert here.train_dataloader == expected.train_dataloader and here.model == expected.model


def test_expressions_are_evaluated_with_the_options():
    row = Row('a', 'a', 'configs/dsrl/dabnet_custom.py', dict(classes=['road', 'car', 'person'], canvas=[64, 128]))
    text = compose(row, amp=False)
    assert read_text(text)['model']['decode_head']['decode_head']['num_classes'] == 3 and '${' not in text
    with pytest.raises(ValueError, match=r'num_classes=.*len\(classes\).* now classes=None'):
        compose(Row('a', 'a', row.config, dict(canvas=[64, 128])), amp=False)


def test_differences_are_of_what_trainings_read():
    then = "model = {'a': 1, 'size': (2, 2), 'hooks': [{'x': 1}]}\nvisualizer = 1\nload_from = 'x'\nnote = 0\n"
    now = "model = {'b': 1, 'size': [2, 2], 'hooks': [{'x': 2}]}\nvisualizer = 2\nload_from = 'x'\nnote = 1\n"
    assert differences(then, now) == [
        'model.a: 1, today absent',
        'model.b: absent, today 1',
        'model.hooks.0.x: 1, today 2',
    ]


GRIDS = [*map(load_grid, sorted(GRIDS.glob('*.yml')))]
SHIPPED = {row.id: (row, grid.amp) for grid in GRIDS for row in grid.rows}
#: An id of each model that options change; the others are the shipped configs'.
CHANGED = {
    f'{row.config} {model}': id_
    for id_, (row, _) in SHIPPED.items()
    if (model := {key: value for key, value in row.options.items() if key.startswith('model.')})
}


def test_an_id_is_the_same_training_in_every_shipped_grid():
    assert {id_ for id_, _ in read_records(FOLDER)} <= {*SHIPPED}
    for grid in GRIDS:
        for row in grid.rows:
            same, amp = SHIPPED[row.id]
            assert grid.amp == amp
            text = compose(row, amp)
            if row != same:
                assert differences(text, compose(same, amp)) == [], (grid.name, row.title)


@pytest.mark.parametrize('id_', CHANGED.values())
def test_every_shipped_change_of_a_model_computes_its_losses(id_):
    cfg = Config(read_text(compose(*SHIPPED[id_])))
    cfg.model.data_preprocessor.size = (96, 128)
    init_default_scope(cfg.default_scope)
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model)))
    samples = [SegDataSample(metainfo=dict(img_shape=(96, 128), ori_shape=(96, 128))) for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(3, (1, 96, 128)))
    images = torch.randint(256, (2, 3, 96, 128), dtype=torch.uint8)
    with torch.no_grad():
        losses = model(**model.data_preprocessor(dict(inputs=[*images], data_samples=samples), True), mode='loss')
    assert torch.isfinite(model.parse_losses(losses)[0])


def test_the_example_of_the_documents():
    rows = load_grid(Path(ROOT, 'docs/examples/my_grid.yml')).rows
    models = [read_text(compose(row, amp=True))['model'] for row in rows]
    assert [model['scale_factor'] for model in models] == [2, 3]


def test_a_hostile_grid_runs_nothing(tmp_path):
    file = tmp_path / 'grid.yml'
    file.write_text(f'title: !!python/object/apply:os.system ["touch {tmp_path}/trace"]\n')
    with pytest.raises(ValueError, match='could not determine a constructor for the tag .*python/object'):
        load_grid(file)
    assert not (tmp_path / 'trace').exists()
