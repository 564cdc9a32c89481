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

ROOT = Path(__file__).parents[3] / 'configs' / '_base_' / 'models'
#: Elsewhere: pose, tests/pose/test_configs.py; PGNet, tests/uhr/pgnet; PointRend, tests/uhr/test_refine_pointrend.py.
ELSEWHERE = ('hrnet', 'pgnet', 'pointrend')
#: Of parts that the other bases have, too.
OF_THE_SAME_PARTS = (
    *('pspnet_r101', 'dabnet_dsrl', 'deeplabv3plus_efficientnet_lite0_dsrl'),
    *('isdnet_pspnet_r18', 'isdnet_efficientnet_lite0'),
)
#: Those that no other extends by DSRL or narrows: the others are parts of them.
BASES = sorted(
    path
    for path in ROOT.glob('*.py')
    if not path.stem.startswith(ELSEWHERE + OF_THE_SAME_PARTS) and not [*ROOT.glob(f'{path.stem}_*')]
)
#: What a network reads: of the canvas, `scale_factor` times as large; of the odd one, a pixel more.
INPUT = (48, 64)


def test_all_bases_are_found():
    assert {'pspnet_r18_dsrl', 'deeplabv3plus_r101_dsrl', 'dabnet_early', 'isdnet_r18_narrow'} <= {
        path.stem for path in BASES
    }


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
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    for parameter in model.parameters():
        if not parameter.any():  # such as the residual of SSSR, which would take no part
            torch.nn.init.normal_(parameter, std=0.1)
    return model


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
    together = logits(model, batch)
    assert together.shape == (2, 19, *canvas)
    torch.testing.assert_close(together[:1], logits(model, batch[:1]), rtol=1e-3, atol=1e-4)


def test_saved_weights_give_the_same_prediction_without_what_only_training_needs(cfg, model, odd):
    """As they are, and exported for frames where the network reads some."""
    torch.manual_seed(1)
    deployed, image, size = revert_sync_batchnorm(MODELS.build(deploy_config(cfg).model)), images(1, odd), odd
    expected = logits(model, image)
    assert expected.shape == (1, 19, *size) and not torch.equal(logits(deployed, image), expected)
    left = deployed.load_state_dict(model.state_dict(), strict=False)
    assert not left.missing_keys
    assert {key.split('.')[0] for key in left.unexpected_keys} <= {'auxiliary_head', 'sr_aux'}
    assert torch.equal(logits(deployed, image), expected)
    if cfg.model.type == 'DSRLSegmentor':
        frame = [side + 1 for side in INPUT]
        deployed.low_res_input, image, size = True, images(1, frame), [model.scale_factor * side for side in frame]
    exported = export_program(deployed, image.shape[2:]).module()(image)
    assert exported.shape == (1, 19, *size)
    torch.testing.assert_close(exported, logits(deployed, image), rtol=1e-3, atol=1e-4)
