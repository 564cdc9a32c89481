"""The grid file: the runs that it stands for, and what is wrong with it."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from dsrl_mm import cli
from dsrl_mm.apis import task_of
from dsrl_mm.engine.loading import without_pretrained
from projects.experiments.grid import ROOT, Row, Run, load_grid

from .grids import CONFIGS, make_grid, write_grid


def test_every_row_of_a_seed_before_the_next_seed(tmp_path):
    grid = make_grid(tmp_path, amp=True)
    names = ['baseline-seed0', 'dsrl-seed0', 'baseline-seed1', 'dsrl-seed1']
    assert [run.name for run in grid.runs()] == names
    assert all(run.amp for run in grid.runs())
    assert [run.name for run in grid.runs(only=['DSRL'])] == names[1::2]
    assert [run.name for run in grid.runs(only=['dsrl', 'baseline'], seeds=[1])] == names[2:]


def test_titles_become_words_of_a_command_line():
    assert [Row(title, '').slug for title in ('+ SSSR + SISR', 'w1 = 0.5')] == ['sssr-sisr', 'w1-0-5']


def test_ids_are_of_what_is_trained(tmp_path, monkeypatch):
    config, options = CONFIGS['DSRL'], {'max_iters': 3, 'model.scale_factor': 4}
    one = Run(Row('a', config, options), 0, amp=True)
    assert one.id.startswith('street_scenes-amp-seed0-')
    # Titles, the order of options, where data lies, and what only shows or saves do not matter; values that are the
    # config's own do not either.
    same = {'model.scale_factor': 4, 'max_iters': 3, 'train_cfg.max_iters': 400, 'default_hooks.logger.interval': 5}
    monkeypatch.setenv('STREET_SCENES_ROOT', 'elsewhere')
    assert one.id == Run(Row('b', config, same, 'a series'), 0, amp=True).id
    # A file that says the same trains the same, one that says something else does not.
    copies = {value: tmp_path / value / 'street_scenes.py' for value in ('0.05', '0.06')}
    for value, file in copies.items():
        file.parent.mkdir()
        file.write_text(f'_base_ = {str(ROOT / config)!r}\noptim_wrapper = dict(optimizer=dict(lr={value}))')
    assert one.id == Run(Row('a', str(copies['0.05']), options), 0, amp=True).id
    others = [Run(one.row, 0, False), Run(one.row, 1, True), Run(Row('a', config), 0, True)]
    others.append(Run(Row('a', str(copies['0.06']), options), 0, True))
    scaled = tmp_path / 'scaled' / 'street_scenes.py'
    scaled.parent.mkdir()
    scaled.write_text(f'_base_ = {str(ROOT / config)!r}\nauto_scale_lr = dict(enable=True, base_batch_size=2)')
    others.append(Run(Row('a', str(scaled), options), 0, True))
    others.append(Run(Row('a', config, options | {'randomness.deterministic': True}), 0, True))
    others.append(Run(Row('a', config, options | {'default_hooks.ema.type': 'EMAHook'}), 0, True))
    # MMEngine gives a model without a preprocessor the config's.
    for value in ('[0, 0, 0]', '[1, 1, 1]'):
        file = tmp_path / value[1] / 'street_scenes.py'
        file.parent.mkdir()
        model = 'model = dict(_delete_=True, type="EncoderDecoder")'
        file.write_text(f'_base_ = {str(ROOT / config)!r}\n{model}\ndata_preprocessor = dict(mean={value})')
        others.append(Run(Row('a', str(file), options), 0, True))
    assert len({run.id for run in (one, *others)}) == 10


def test_arguments_are_what_the_training_command_understands():
    options = {
        'model.decode_head.upsampler.channels': 16,
        'model.sr_aux.fa': None,
        'model.sr_aux.head.in_index': [0, 1],
        'crop_size': [96, 192],
        'optim_wrapper.optimizer.lr': 0.25,
    }
    arguments = Run(Row('a', CONFIGS['DSRL'], options), seed=7, amp=True).arguments('somewhere')
    cfg = cli.training_config(arguments)
    expected = Config.fromfile(ROOT / CONFIGS['DSRL'])
    expected.merge_from_dict(options | {'randomness.seed': 7})
    for key in ('model', 'crop_size', 'randomness'):
        assert cfg[key] == expected[key]
    assert cfg.optim_wrapper.optimizer.lr == 0.25
    assert cfg.optim_wrapper.type != 'OptimWrapper'  # --amp
    assert cfg.work_dir == 'somewhere'


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(jobs=2), r"unknown key 'jobs'; known are 'name', 'title', 'seeds', 'rows', 'amp'"),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], input=3))), r"row 'a' has the unknown key 'input'"),
        (dict(rows=dict(a=dict(options={}))), "row 'a' lacks config"),
        (dict(rows=dict(a='x.py')), "row 'a' must be a mapping with the keys config"),
        (
            dict(rows={'+ A': dict(config=CONFIGS['DSRL']), 'a': dict(config=CONFIGS['DSRL'])}),
            r"\['\+ A', 'a'\] do not",
        ),
        (dict(rows={'+': dict(config=CONFIGS['DSRL'])}), 'must differ in letters or digits'),
        (
            dict(rows=dict(a=dict(config=CONFIGS['DSRL']), b=dict(config=CONFIGS['DSRL']))),
            r"rows \['a', 'b'\] are the same training",
        ),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(model=dict(x=1))))), 'model.KEY: VALUE'),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(param_scheduler=[dict(x=1)])))), 'holds a mapping'),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options={'randomness.seed': 7}))), "the grid's to set"),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(max_iter=7)))), 'max_iter sets nothing'),
        # A name that the config's file has for itself: its values were copied from it long before.
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(crop_size=[9, 9])))), 'crop_size sets nothing'),
        # MMSegmentation's models have a copy of their own, which is what counts.
        (
            dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options={'data_preprocessor.mean': [0, 0, 0]}))),
            'data_preprocessor.mean sets nothing',
        ),
        # Every run is tested by the same metrics.
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options={'test_evaluator.x': 0}))), 'evaluator.x sets nothing'),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(load_from='/a b/c.pth')))), "reads as '/ab/c.pth'"),
        (
            dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(load_from='a,b.pth')))),
            r"reads as \['a', 'b.pth'\]",
        ),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options={'model.x': ['a b']}))), r"reads as \['ab'\]"),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options={'model.x': '1e-3'}))), "is '1e-3', .* reads as 0.001"),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=None))), 'options must be a mapping'),
        (dict(rows=[CONFIGS['DSRL']]), 'rows must be a mapping'),
        (dict(rows=dict(a=dict(config=3))), "row 'a': config must be a text, got 3"),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], series=[1]))), r"row 'a': series must be a text, got \[1\]"),
        (dict(name='../x'), "name must be a folder's name"),
        (dict(name='..'), "name must be a folder's name"),
        (dict(name=''), "name must be a folder's name"),
        (dict(name='runs'), 'not runs, where results are'),
        (dict(title=3), 'title must be a text, got 3'),
        (dict(seeds=3), 'seeds must be a list of different whole numbers, got 3'),
        (dict(seeds=[]), 'seeds must be a list'),
        (dict(seeds=[0, 0]), 'seeds must be a list'),
        (dict(amp='no way'), 'amp must be true or false'),
    ],
)
def test_mistakes_are_named(tmp_path, keys, message):
    with pytest.raises(ValueError, match=message):
        load_grid(write_grid(tmp_path, **keys))


def test_missing_key_and_config_are_named(tmp_path):
    (tmp_path / 'short.yml').write_text('name: x\nrows: {}')
    with pytest.raises(ValueError, match='lacks title and seeds'):
        load_grid(tmp_path / 'short.yml')
    (tmp_path / 'number.yml').write_text('name: x\ntitle: x\nseeds: [0]\nrows: {0.5: {config: x.py}}')
    with pytest.raises(ValueError, match="a row's title must be a text; write it in quotes, got 0.5"):
        load_grid(tmp_path / 'number.yml')
    with pytest.raises(FileNotFoundError, match="row 'a': there is no config configs/none.py in .* absolute path"):
        load_grid(write_grid(tmp_path, rows=dict(a=dict(config='configs/none.py'))))


def test_unknown_rows_and_seeds_are_named(tmp_path):
    grid = make_grid(tmp_path)
    with pytest.raises(ValueError, match=r"no row 'SSSR'; known are 'baseline', 'baseline', 'DSRL', 'dsrl'"):
        grid.runs(only=['SSSR'])
    with pytest.raises(ValueError, match=r'no seed 5; known are 0, 1'):
        grid.runs(seeds=[0, 5])


def test_the_documents_grid():
    grid = load_grid(ROOT / 'docs/examples/my_grid.yml')
    configs = [cli.training_config(run.arguments('')) for run in grid.runs(seeds=[0])]
    assert [task_of(cfg).network_input(cfg)[1:] for cfg in configs] == [(180, 240), (120, 160)]


SHIPPED = sorted((ROOT / 'projects/experiments/grids').glob('*.yml'))


def test_grids_are_shipped():
    assert SHIPPED


@pytest.mark.parametrize('file', SHIPPED, ids=lambda file: file.stem)
def test_every_row_of_shipped_grids_computes_its_losses(file: Path):
    grid = load_grid(file)
    assert grid.name == file.stem
    for row in grid.rows:
        cfg = cli.training_config(row.arguments)
        cfg.model.data_preprocessor.size = (96, 128)
        init_default_scope(cfg.default_scope)
        model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model)))
        sample = SegDataSample(metainfo=dict(img_shape=(96, 128), ori_shape=(96, 128)))
        sample.gt_sem_seg = PixelData(data=torch.randint(11, (1, 96, 128)))
        images = torch.randint(256, (2, 3, 96, 128), dtype=torch.uint8)
        data = model.data_preprocessor(dict(inputs=[*images], data_samples=[sample, copy.deepcopy(sample)]), True)
        assert torch.isfinite(model.parse_losses(model(**data, mode='loss'))[0]), row.title
