"""Shares of the gradient, by hand and through the command."""

import re

import pytest
import torch
import toy
import toy_data
from torch import nn

from tools.analysis_tools.gradient_shares import main, shares


class Preprocessor(nn.Module):
    def forward(self, data, training):
        assert training
        return data


class Model(nn.Module):
    """Two outputs of three numbers; the losses' gradients on them are constant."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = Preprocessor()
        self.backbone = nn.Module()
        self.backbone.forward = lambda x: tuple((n * x).detach().requires_grad_() for n in (1, 2, 3))

    def forward(self, inputs, mode):
        assert mode == 'loss'
        first, second, _ = self.backbone(inputs)
        return {
            'decode.loss_ce': 3 * first[0] + 3 * second[0],
            'decode.acc': first[0],
            'sr.loss_sisr': -first[0] + second[1],
        }


def test_by_hand():
    inputs = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
    table = shares(Model(), [dict(inputs=inputs)] * 2)
    # Norms: 3 and 1 on the first output, 3 and 1 on the second; nothing depends on the third.
    assert set(table) == {'decode.loss_ce', 'sr.loss_sisr'}
    assert table['decode.loss_ce'] == pytest.approx({'loss': 9, 'output 0 %': 75, 'output 1 %': 75, 'cosine': 1})
    # (3, 0, 0, 3, 0, 0) and (-1, 0, 0, 0, 1, 0): -3 / (sqrt(18) sqrt(2)).
    assert table['sr.loss_sisr'] == pytest.approx({'loss': -1, 'output 0 %': 25, 'output 1 %': 25, 'cosine': -0.5})


def test_a_loss_of_ten_times_the_weight_has_ten_times_the_gradient(tmp_path, capsys):
    config = str(toy_data.write_config(tmp_path, toy_data.write_camvid(tmp_path), crop_size=toy.SIZE))
    printed = []
    for weight in ('0.1', '1.0'):
        main([config, '--batches', '2', '--cfg-options', f'model.sr_aux.head.loss_weight={weight}'])
        printed.append(re.findall(r'sr\.loss_sisr +\| +(\S+) +\| +(\S+) ', capsys.readouterr().out)[0])
    (light, light_share), (heavy, heavy_share) = ([float(x) for x in row] for row in printed)
    assert heavy == pytest.approx(10 * light, rel=0.01)
    assert heavy_share / (100 - heavy_share) == pytest.approx(10 * light_share / (100 - light_share), rel=0.05)
