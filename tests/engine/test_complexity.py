import pytest
import torch
from mmengine.model import BaseModel
from torch import nn
from toy import auxiliary_head_cfg, build, model_cfg

from dsrl_mm.engine.complexity import measure_complexity


class ConvNet(BaseModel):
    """Two convolutions and a product, countable by hand; a third that only training uses."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.strided = nn.Conv2d(4, 5, 2, stride=2)
        self.norm = nn.BatchNorm2d(5)
        self.sr_aux = nn.Conv2d(5, 7, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert not self.training and mode == 'tensor'
        x = self.norm(self.strided(self.wide(inputs))).relu()
        x = nn.functional.interpolate(x, scale_factor=2.0, mode='bilinear')
        return x.flatten(2).transpose(1, 2) @ torch.ones(5, 6)


class TestByHand:
    def test_multiply_adds(self):
        # 8x10 pixels: 4 channels from 3x3x3 weights; 4x5 pixels: 5 channels from 4x2x2; 8x10 rows of a 5x6 product.
        macs = 80 * 4 * 27 + 20 * 5 * 16 + 80 * 5 * 6
        complexity = measure_complexity(ConvNet(), (8, 10))
        assert complexity.macs == macs == 12640
        assert complexity.flops == 2 * macs

    def test_parameters(self):
        complexity = measure_complexity(ConvNet(), (8, 10))
        assert complexity.params == 4 * 27 + (5 * 16 + 5) + 2 * 5
        assert complexity.training_params == 7 * 5 + 7


class TestSegmentor:
    @pytest.mark.parametrize(
        ('upsampler', 'macs'),
        [
            # Features are 3x4, of 16 channels. A squeeze to 8; a deconvolution of 4x4 weights, where each of the 3x4
            # inputs meets them all; 5 classes on 6x8.
            (dict(type='DeconvUpsampler'), 12 * 16 * 8 + 12 * 8 * 8 * 16 + 48 * 8 * 5),
            # A squeeze to 8, and 3x3 weights to 5 classes x 2 x 2 places on 3x4.
            (dict(type='SubPixelUpsampler'), 12 * 16 * 8 + 12 * 8 * 9 * 20),
        ],
    )
    def test_the_stack_is_all_that_inference_pays(self, upsampler, macs):
        cfg = model_cfg(auxiliary_head=auxiliary_head_cfg())
        cfg['decode_head']['upsampler'] = dict(upsampler, channels=8)
        dsrl = measure_complexity(build(cfg), (48, 64))
        baseline = measure_complexity(build(model_cfg(dsrl=False)), (48, 64))
        assert dsrl.macs - baseline.macs == macs
        assert baseline.training_params == 0

    def test_parameters_add_up(self):
        model = build(model_cfg(auxiliary_head=auxiliary_head_cfg()))
        complexity = measure_complexity(model, (48, 64))
        parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
        assert complexity.training_params == parts['sr_aux'] + parts['auxiliary_head']
        assert complexity.params == parts['backbone'] + parts['decode_head']

    def test_the_network_works_on_the_reduced_image(self):
        # A canvas of twice the sides costs what an LR frame of the original sides does.
        canvas = measure_complexity(build(model_cfg()), (96, 128))
        frame = measure_complexity(build(model_cfg(low_res_input=True)), (48, 64))
        assert canvas == frame
