"""What every task's model shares, on a task made up here."""

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from dsrl_mm.core import DeconvUpsampler
from dsrl_mm.engine import SuperResolutionMixin

SR_AUX = dict(head=dict(type='SISRAuxHead', in_channels=4, upscale_factor=4, channels=6))


class Host(BaseModel):
    with_neck = True

    def __init__(self):
        super().__init__()
        self.backbone, self.neck = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1)
        self.backbone.forward = lambda image, stock=self.backbone.forward: (stock(image),)
        self.neck.forward = lambda feats, stock=self.neck.forward: (stock(feats[0]),)


class Model(SuperResolutionMixin, Host):
    def __init__(self, scale_factor=2, sr_aux=SR_AUX, stack=None):
        super().__init__()
        self.init_super_resolution(scale_factor, sr_aux, stack)

    def forward(self, inputs):
        shared = self.run_backbone(inputs)
        return self.run_neck(shared)[0].mean(), self.sr_aux.loss(shared, inputs)


def test_a_third_task_takes_a_few_lines():
    canvas = torch.randn(2, 3, 15, 18)
    model = Model()
    _, losses = model(canvas)
    assert set(losses) == {'loss_sisr'}
    rebuilt = model.eval().reconstruct(canvas)
    torch.testing.assert_close(model(canvas)[1]['loss_sisr'], 0.1 * (rebuilt - canvas).square().mean())
    padded = nn.functional.pad(canvas, (0, 0, 0, 1), mode='replicate')
    expected = model.neck(model.backbone(nn.functional.avg_pool2d(padded, 2)))
    assert torch.equal(model.extract_feat(canvas)[0], expected[0])


def test_the_last_run_of_the_backbone_is_kept_for_the_image():
    model, canvas = Model().eval(), torch.randn(1, 3, 16, 16)
    expected = model.reconstruct(canvas)
    runs = []
    model.backbone.register_forward_hook(lambda *_: runs.append(1))
    with model.watch_backbone() as last:
        model.extract_feat(torch.zeros(1, 3, 8, 8))
        model.extract_feat(canvas)
    assert torch.equal(model.reconstruct(canvas, last[0]), expected)
    assert len(last) == 1 and len(runs) == 2
    model.extract_feat(torch.zeros(1, 3, 8, 8))  # no longer watched
    assert torch.equal(model.reconstruct(canvas, last[0]), expected)


@pytest.mark.parametrize('part', [dict(sr_aux=SR_AUX), dict(sr_aux=None, stack=DeconvUpsampler(4, 3))])
def test_full_size_networks_have_nothing_to_super_resolve(part):
    Model(scale_factor=1, sr_aux=None)
    with pytest.raises(ValueError, match='scale_factor must be an integer of at least 2'):
        Model(scale_factor=1, **part)


def test_images_are_not_rebuilt_without_the_branch():
    with pytest.raises(RuntimeError, match='no SISR branch'):
        Model(sr_aux=None).reconstruct(torch.zeros(1, 3, 8, 8))


def test_checkpoints_of_other_architectures_are_refused():
    with pytest.raises(ValueError, match='belongs to another architecture'):
        Model().load_state_dict({'backbone.stem.weight': torch.zeros(1)}, strict=False)
