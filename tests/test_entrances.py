"""A hostile, broken or mismatched checkpoint is refused in every entrance, and runs nothing."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from engine.test_reader import Hostile
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.registry import MODELS
from PIL import Image
from toy import build
from toy_data import call, write_camvid, write_config

from dsrl_mm import cli
from dsrl_mm.seg import CamVidDataset
from tools.analysis_tools.compare import main as compare
from tools.analysis_tools.gradient_shares import main as gradient_shares


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    data = write_camvid(folder / 'camvid', 4, 2)
    config = write_config(folder, data)
    weights = build(Config.fromfile(config).model).state_dict()
    content = dict(state_dict=weights, meta=dict(dataset_meta=CamVidDataset.METAINFO))
    return SimpleNamespace(config=config, data=data, content=content)


def start(config, file, work):
    call(cli.train, config, '--work-dir', work, '--cfg-options', f'load_from={file}')


def resume(config, file, work):
    call(cli.train, config, '--work-dir', work, '--resume', file)


def resume_the_newest(config, file, work):
    work.mkdir()
    shutil.copy(file, work / 'iter_2.pth')
    call(cli.train, config, '--work-dir', work, '--resume')


def test(config, file, work):
    call(cli.test, config, file, '--work-dir', work)


def deploy(config, file, work):
    call(cli.deploy, config, file, work)


def compare_models(config, file, work):
    call(compare, '--model', 'a', config, file, '--out', work, '--pictures', 1)


def initialize(config, file, work):
    init_model(str(config), str(file), device='cpu')


def initialize_backbone(config, file, work):
    cfg = Config.fromfile(config).model
    cfg.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(file), prefix='backbone.')
    MODELS.build(cfg).init_weights()


def differentiate(config, file, work):
    call(gradient_shares, config, file, '--batches', 1)


# Not functions of this module's own tests.
test.__test__ = False
INFERENCE = [test, deploy, compare_models]
ENTRANCES = [start, resume, resume_the_newest, *INFERENCE, initialize, initialize_backbone, differentiate]


@pytest.mark.parametrize('entrance', ENTRANCES)
def test_a_hostile_checkpoint_is_refused_and_runs_nothing(trained, entrance, tmp_path):
    torch.save(dict(trained.content, more=Hostile(tmp_path / 'trace')), tmp_path / 'hostile.pth')
    with pytest.raises(ValueError, match='--trust-checkpoint|none of the 1 checkpoints in .* can be read'):
        entrance(trained.config, tmp_path / 'hostile.pth', tmp_path / 'work')
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('entrance', INFERENCE)
def test_weights_that_are_nan_are_refused(trained, entrance, tmp_path):
    weights = {name: value.clone() for name, value in trained.content['state_dict'].items()}
    weights['backbone.stem.0.weight'][0] = float('nan')
    torch.save(dict(trained.content, state_dict=weights), tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match=r'nan\.pth: 1 of \d+ weights hold NaN'):
        entrance(trained.config, tmp_path / 'nan.pth', tmp_path / 'work')


@pytest.mark.parametrize('entrance', INFERENCE)
def test_classes_in_another_order_are_refused(trained, entrance, tmp_path):
    meta = dict(dataset_meta=dict(classes=CamVidDataset.METAINFO['classes'][::-1]))
    torch.save(dict(trained.content, meta=meta), tmp_path / 'reversed.pth')
    with pytest.raises(ValueError, match=r'reversed\.pth was trained on the classes .* in the order'):
        entrance(trained.config, tmp_path / 'reversed.pth', tmp_path / 'work')


def test_masks_of_two_files_of_one_name_are_kept_apart(trained, tmp_path):
    """In the images' sub-folders; with a stock metric, too."""
    for i, town in enumerate(('bern', 'köln')):
        for kind in ('images', 'labels'):
            (tmp_path / 'data' / kind / 'val' / town).mkdir(parents=True)
            shutil.copy(trained.data / kind / f'val/val_{i}.png', tmp_path / 'data' / kind / f'val/{town}/0.png')
    torch.save(trained.content, tmp_path / 'a.pth')
    options = [f'test_dataloader.dataset.data_root={tmp_path / "data"}', 'test_evaluator.type=IoUMetric']
    call(
        cli.test, trained.config, tmp_path / 'a.pth', '--work-dir', tmp_path / 'work', '--out', tmp_path / 'masks',
        '--cfg-options', *options,
    )  # fmt: skip
    written = sorted(path.relative_to(tmp_path / 'masks') for path in (tmp_path / 'masks').rglob('*.png'))
    assert [str(path) for path in written] == ['bern/0.png', 'köln/0.png']
    assert all(Image.open(tmp_path / 'masks' / path).size == (64, 48) for path in written)
