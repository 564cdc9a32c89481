"""The grid file and the configs that it composes: what they stand for, and what is wrong with them."""

import re
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
from projects.experiments.config import ROOT, compose, differences, new_options, read_text, to_text
from projects.experiments.grid import GRIDS, Row, load_grid
from projects.experiments.records import FOLDER, read_records

from .grids import DSRL, write_grid


def row(**keys) -> dict:
    return dict(a=dict(id='a', config=DSRL) | keys)


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(seed=[0]), "toy.yml: unknown key 'seed'; did you mean 'seeds'?"),
        (dict(rows=row(option={})), "row 'a': unknown key 'option'; did you mean 'options'?"),
        (dict(rows=dict(a=dict(config=DSRL))), "row 'a': .* missing .* 'id'"),
        (dict(rows=row(options=None)), "row 'a': options must be a dict, got None"),
        (dict(rows=row(series=[1])), "row 'a': series must be a str"),
        (dict(rows={0.5: dict(id='a', config=DSRL)}), 'title must be a str, got 0.5'),
        (dict(rows=row(id='a/b')), "the id 'a/b' is in use, or not fit for a file name"),
        (dict(rows=row() | dict(b=dict(id='a', config=DSRL))), "row 'a': the id 'a' is in use"),
        (dict(rows=[DSRL]), 'rows must map titles to mappings'),
        (dict(seeds=3), 'seeds must be a list, got 3'),
        (dict(seeds=[]), 'seeds must be different whole numbers'),
        (dict(seeds=[0, 0]), 'seeds must be different whole numbers'),
        (dict(seeds=[True]), 'seeds must be different whole numbers'),
        (dict(amp='no'), 'amp must be a bool'),
        (dict(show=['size']), 'show must list some of seeds, classes, cost, curves, sizes'),
    ],
)
def test_mistakes_are_named(tmp_path, keys, message):
    with pytest.raises(ValueError, match=message):
        load_grid(write_grid(tmp_path, **keys))


def test_options_may_be_any_value():
    hooks = [dict(type='LabelCheckHook'), dict(type='EMAHook', momentum=0.002)]
    options = {'custom_hooks': hooks, 'model.sr_aux.fa': dict(type='FALoss'), 'model.sr_aux.head.in_index': [0, 1]}
    options |= {'optim_wrapper': dict(optimizer=dict(lr=0.25)), 'param_scheduler.0.end': 7}
    cfg = compose(Row('a', 'a', DSRL, options), amp=True)
    expected = Config.fromfile(ROOT / DSRL)
    assert cfg.custom_hooks == hooks
    assert cfg.model.sr_aux == expected.model.sr_aux | dict(
        fa=dict(type='FALoss'), head=expected.model.sr_aux.head | dict(in_index=[0, 1])
    )
    assert cfg.optim_wrapper.optimizer == expected.optim_wrapper.optimizer | dict(lr=0.25)
    assert cfg.param_scheduler[0].end == 7
    assert cfg.optim_wrapper.type != 'OptimWrapper'  # amp
    assert [metric['type'] for metric in cfg.test_evaluator] == ['ClassIoUMetric', 'BoundaryMetric']


@pytest.mark.parametrize(
    ('options', 'near'),
    [
        (dict(max_iter=7), 'train_cfg.max_iters'),
        (dict(max_iters=7), 'train_cfg.max_iters'),  # a name of the file's own, copied long before
        ({'train_cfg.max_iters': 5460}, 'train_cfg.max_iters'),  # the config's own value
        ({'test_evaluator.ignore_index': 0}, ''),  # every run is tested by the same metrics
    ],
)
def test_options_that_change_nothing_are_refused(options, near):
    (key,) = options
    with pytest.raises(ValueError, match=rf'the option {re.escape(key)} changes nothing .* such as .*{near}'):
        compose(Row('a', 'a', DSRL, options), amp=False)


def test_new_options_come_with_the_nearest_name():
    options = {'optim_wrapper.optimizer.lrr': 1, 'model.sr_aux': None, 'model.decode_head.upsampler.factors': (4,)}
    (new,) = new_options(Row('a', 'a', DSRL, options))
    assert new == 'optim_wrapper.optimizer.lrr; the nearest name that it has is optim_wrapper.optimizer.lr'


def test_texts_are_the_configs_on_every_machine(monkeypatch, tmp_path):
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    cfg = compose(Row('a', 'a', DSRL), amp=False)
    text = to_text(cfg)
    assert str(tmp_path) not in text
    assert read_text(text).to_dict() == cfg.to_dict()
    here = read_text(text, here=True)
    assert here.train_dataloader.dataset.data_root == str(tmp_path)
    assert here.train_dataloader.dataset.pipeline == cfg.train_dataloader.dataset.pipeline


class TestOwnData:
    OPTIONS = dict(classes=['road', 'car', 'person'], data_root='here', canvas=[64, 128])

    def compose(self, options: dict) -> Config:
        return compose(Row('a', 'a', 'configs/dsrl/dabnet_custom.py', options), amp=False)

    def test_expressions_are_evaluated_with_the_options(self):
        cfg = self.compose(self.OPTIONS)
        assert cfg.model.decode_head.decode_head.num_classes == 3
        assert cfg.model.data_preprocessor.size == (64, 128)
        dataset = cfg.train_dataloader.dataset
        assert dataset.data_root == 'here' and dataset.metainfo.classes == ('road', 'car', 'person')
        assert '${' not in to_text(cfg)
        assert read_text(to_text(cfg)).to_dict() == cfg.to_dict()

    def test_missing_variables_are_named(self):
        with pytest.raises(ValueError, match=r'num_classes=.*len\(classes\).* now classes=None'):
            self.compose(dict(canvas=[64, 128]))

    def test_other_variables_change_nothing(self):
        with pytest.raises(ValueError, match='the option img_sufix changes nothing'):
            self.compose(self.OPTIONS | dict(img_sufix='.png'))


def test_differences_are_of_what_trainings_read():
    then = dict(model=dict(a=1, size=(2, 2), hooks=[dict(x=1)]), visualizer=1, load_from='x', note=0)
    now = dict(model=dict(b=1, size=[2, 2], hooks=[dict(x=2)]), visualizer=2, load_from='x', note=1)
    assert differences(Config(then), Config(now)) == [
        'model.a: 1, today absent',
        'model.b: absent, today 1',
        'model.hooks.0.x: 1, today 2',
    ]


SHIPPED = {row.id: (row, grid.amp) for grid in map(load_grid, sorted(GRIDS.glob('*.yml'))) for row in grid.rows}


def test_an_id_is_the_same_training_in_every_shipped_grid():
    assert {*read_records(FOLDER)} <= {*SHIPPED}
    for grid in map(load_grid, sorted(GRIDS.glob('*.yml'))):
        for row in grid.rows:
            same, amp = SHIPPED[row.id]
            assert grid.amp == amp
            if row != same:
                assert differences(compose(row, amp), compose(same, amp)) == [], (grid.name, row.title)


@pytest.mark.parametrize('id_', SHIPPED)
def test_every_shipped_row_computes_its_losses(id_):
    cfg = compose(*SHIPPED[id_])
    cfg.model.data_preprocessor.size = (96, 128)
    init_default_scope(cfg.default_scope)
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model)))
    samples = [SegDataSample(metainfo=dict(img_shape=(96, 128), ori_shape=(96, 128))) for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(11, (1, 96, 128)))
    images = torch.randint(256, (2, 3, 96, 128), dtype=torch.uint8)
    with torch.no_grad():
        losses = model(**model.data_preprocessor(dict(inputs=[*images], data_samples=samples), True), mode='loss')
    assert torch.isfinite(model.parse_losses(losses)[0])


def test_the_example_of_the_documents():
    rows = load_grid(Path(ROOT, 'docs/examples/my_grid.yml')).rows
    assert [compose(row, amp=True).model.get('scale_factor', 2) for row in rows] == [2, 3]
