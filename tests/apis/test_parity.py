"""Every kind of network that is shipped, as an ONNX file beside PyTorch: :func:`check_parity` is part of the export."""

from pathlib import Path

import pytest
import torch
import toy
import toy_pgnet
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from uhr.toy_isd import isd_cfg

from dsrl_mm.apis import ExportOptions, deploy_config
from dsrl_mm.apis import export_files as export_module
from dsrl_mm.apis.export_files import export_files
from dsrl_mm.engine.config import read_config

CONFIGS = Path(__file__).parents[2] / 'configs/dsrl'

#: Shipped networks that are small, at small sizes, and the size of the input. DABNet: ``tests/test_docs.py``.
SHIPPED = {
    'deeplabv3plus_efficientnet_lite0_camvid_early': (48, 64),
    'espnetv2_camvid': (64, 64),
    'bisenetv1_r18_camvid': (64, 64),
    'hrnet_narrow_coco_128x96': None,
}
#: The more layers, the longer an export takes: two blocks, and the features at 1/4 and 1/8.
SHALLOW = toy.model_cfg()['backbone'] | dict(
    depth=10, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)
)
LAST = dict(in_channels=toy.CHANNELS[1], in_index=1)
ASPP = toy.head_cfg('DepthwiseSeparableASPPHead', **LAST)
PSP = toy.head_cfg('PSPHead', **LAST, pool_scales=(1, 3))  # one pixel, and one that seldom divides the grid
#: The stack also reads features at 1/4, which the head does not, as in the shipped configs "early".
EARLY = toy.model_cfg(head=PSP | dict(in_index=0))['decode_head']
EARLY |= dict(skip=dict(in_index=0, in_channels=toy.CHANNELS[0]))
#: Networks of the same parts as large ones: DeepLabV3+, PSPNet, ISDNet and PGNet.
TOYS = {
    'DeepLabV3+': toy.model_cfg(head=ASPP, sr_aux=None, low_res_input=True, backbone=SHALLOW),
    'PSPNet': toy.model_cfg(decode_head=EARLY, sr_aux=None, backbone=SHALLOW),
    'ISDNet': isd_cfg(toy.head_cfg('FCNHead', **LAST), sr_aux=None, backbone=SHALLOW),
    'PGNet': toy_pgnet.pgnet_cfg(auxiliary_head=None),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Programs do not name the source of each operation, which takes long to find in a deep stack."""
    monkeypatch.setattr(torch.fx.config, 'do_not_emit_stack_traces', True, raising=False)


def exported(cfg: Config, folder: Path, capsys, **options) -> str:
    """What the export of a network with spread weights prints."""
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    names = dict(keypoint_id2name={}, keypoint_colors=[], skeleton_links=[])
    export_files(cfg, toy.spread_weights(model).eval(), names, folder, ExportOptions(verify=1, **options))
    return capsys.readouterr().out.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_networks(name, tmp_path, capsys):
    if name.startswith('hrnet'):
        pytest.importorskip('mmpose')
        init_default_scope('mmpose')
    cfg = deploy_config(read_config(CONFIGS / f'{name}.py'))
    toy.shrink(cfg.model.backbone)
    if name.startswith('espnet'):  # without the coarsest level, which has most units
        cfg.model.backbone.out_indices = (0, 1, 2)
        head = cfg.model.decode_head.decode_head
        head.update(in_channels=head.in_channels[:3], in_index=(0, 1, 2), decoder_channels=(48, 32))
    what = 'keypoints' if name.startswith('hrnet') else 'pixels'
    result = exported(cfg, tmp_path, capsys, formats=['onnx'], size=SHIPPED[name])
    assert f'{what} agree, the largest difference is' in result


@pytest.fixture
def compared(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the batches of the last comparison with PyTorch."""
    shapes, stock = [], export_module.check_parity

    def check_parity(expected, found, batches):
        shapes[:] = [batch.shape for batch in batches]
        return stock(expected, found, batches)

    monkeypatch.setattr(export_module, 'check_parity', check_parity)
    return shapes


@pytest.mark.slow
@pytest.mark.parametrize('name', TOYS)
def test_open_sizes(name, tmp_path, capsys, compared):
    """Compared at the size of the config, the next that fits, and at two others."""
    result = exported(
        Config(dict(model=TOYS[name], crop_size=toy.SIZE)), tmp_path, capsys, formats=['onnx'], dynamic=True
    )
    way = 'any size' if name == 'PGNet' else 'any size and batch'
    assert result.startswith(f'deploy.onnx, for {way}: ')
    sizes = {
        'DeepLabV3+': [(32, 32), (64, 96), (96, 64)],  # of frames of 24x32
        'PGNet': [(64, 64), (64, 96), (96, 64)],
    }.get(name, [(64, 64), (128, 192), (192, 128)])  # canvases of twice the network's
    usual, *others = [(1, 3, *size) for size in sizes]
    assert compared == [usual, *([] if name == 'PGNet' else [(2, *usual[1:])]), *others]


@pytest.mark.slow
def test_poses_of_any_batch(tmp_path, capsys, compared):
    pytest.importorskip('mmpose')
    import toy_pose

    init_default_scope('mmpose')
    backbone = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, num_stages=1, out_indices=(0,))
    backbone |= dict(strides=(1,), dilations=(1,))
    cfg = Config(dict(default_scope='mmpose', model=toy_pose.model_cfg(sr_aux=None, backbone=backbone)))
    result = exported(cfg, tmp_path, capsys, formats=['onnx'], dynamic=True)
    assert result.startswith('deploy.onnx, for any batch: 100.00 % of keypoints agree')
    assert compared == [(1, 3, 128, 64), (2, 3, 128, 64)]


def test_an_exporter_that_gives_no_reason_and_images_of_one_channel(tmp_path, capsys, monkeypatch):
    stock = export_module.export_program

    def export_program(network, size, channels, multiple, open_batch, dtype):
        if multiple or open_batch:
            raise AssertionError  # without a message, as libraries do
        return stock(network, size, channels, dtype=dtype)

    monkeypatch.setattr(export_module, 'export_program', export_program)
    gray = dict(backbone=SHALLOW | dict(in_channels=1))
    gray |= dict(data_preprocessor=toy.preprocessor_cfg(mean=[120.0], std=[60.0], bgr_to_rgb=False))
    cfg = Config(dict(model=TOYS['PSPNet'] | gray, crop_size=toy.SIZE))
    assert exported(cfg, tmp_path, capsys, formats=['pt2'], dynamic=True).startswith('deploy.pt2, for one image of')
