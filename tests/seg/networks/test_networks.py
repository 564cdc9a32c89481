"""What every segmentation network must do: a new one adds its base to ``configs/_base_/models`` and is tested here.

``tests/test_configs.py`` trains every shipped config for a step, and asserts that all parameters are reached.
"""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from toy import shrink

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm.apis import deploy_config, export_program

BASES = sorted(
    path
    for path in (Path(__file__).parents[3] / 'configs' / '_base_' / 'models').glob('*.py')
    # hrnet: pose, tests/pose/test_configs.py; pgnet: tests/uhr/pgnet; pointrend: tests/uhr/test_refine_pointrend.py
    if not path.stem.startswith(('sr_aux', 'hrnet', 'pgnet', 'pointrend'))
)
#: What a network reads: of the canvas, `scale_factor` times as large; of the odd one, a pixel more.
INPUT = (48, 64)


def test_all_bases_are_found():
    assert {'pspnet_r101', 'dabnet_early', 'isdnet_r18'} <= {path.stem for path in BASES}


@pytest.fixture(params=BASES, ids=lambda path: path.stem, scope='module')
def cfg(request):
    cfg = Config.fromfile(request.param)
    if cfg.model.backbone.type == 'TIMMBackbone':
        pytest.importorskip('timm')
    shrink(cfg.model.backbone)
    return cfg


@pytest.fixture(scope='module')
def model(cfg):
    torch.manual_seed(0)
    return revert_sync_batchnorm(MODELS.build(cfg.model))


@pytest.fixture(scope='module')
def canvas(model):
    return tuple(model.scale_factor * side for side in INPUT)


@pytest.fixture(scope='module')
def odd(canvas):
    return tuple(side + 1 for side in canvas)


def images(n: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(0))


def logits(model, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(inputs, mode='tensor')


def test_logits_cover_the_canvas(model, canvas, odd):
    for size in (canvas, odd):
        assert logits(model, images(1, size)).shape == (1, 19, *size)


def test_trains_on_odd_sizes(model, odd):
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.randint(19, (1, *odd))), metainfo=dict(img_shape=odd, ori_shape=odd)
    )
    losses = model.train().loss(images(2, odd), [sample, sample.clone()])
    assert losses and all(value.isfinite().all() for value in losses.values())
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_an_image_is_predicted_alike_alone_and_in_a_batch(model, canvas):
    batch = images(2, canvas)
    torch.testing.assert_close(logits(model, batch)[:1], logits(model, batch[:1]), rtol=1e-3, atol=1e-4)


def test_saved_weights_give_the_same_prediction(cfg, model, canvas, tmp_path):
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    other, image = revert_sync_batchnorm(MODELS.build(cfg.model)), images(1, canvas)
    assert not torch.equal(logits(other, image), logits(model, image))
    other.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True))
    assert torch.equal(logits(other, image), logits(model, image))


def test_exports_without_what_only_training_needs(cfg, model, canvas):
    low_res_input = cfg.model.type == 'DSRLSegmentor'
    size = INPUT if low_res_input else canvas
    deployed = revert_sync_batchnorm(MODELS.build(deploy_config(cfg, low_res_input).model)).eval()
    left = deployed.load_state_dict(model.state_dict(), strict=False)
    assert not left.missing_keys
    assert {key.split('.')[0] for key in left.unexpected_keys} <= {'auxiliary_head', 'sr_aux'}
    frame = images(1, size)
    exported = export_program(deployed, size).module()(frame)
    assert exported.shape == (1, 19, *canvas)
    torch.testing.assert_close(exported, logits(deployed, frame), rtol=1e-3, atol=1e-4)
