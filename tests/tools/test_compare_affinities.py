"""Agreement of affinities with labels, by hand and through the command."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
import toy
import toy_data
from mmengine.config import Config

from tools.analysis_tools import compare_affinities as affinities
from tools.analysis_tools.compare_affinities import agreement, main

LABEL = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, -1, 1]])


def test_labels_agree_with_themselves():
    one_hot = F.one_hot(LABEL.clamp(min=0), 3).permute(2, 0, 1)
    assert agreement(one_hot, LABEL) == pytest.approx(1)
    assert agreement(one_hot, LABEL, near=1) == pytest.approx(1)
    assert agreement(1 - 2 * one_hot, LABEL) > 0.9  # whatever they are scaled and turned by


def test_features_that_say_nothing_agree_by_chance():
    torch.manual_seed(0)
    label = torch.randint(3, (12, 16))
    assert abs(agreement(torch.randn(8, 12, 16), label)) < 0.1


def test_by_hand():
    # Three positions in a row: cosines of 1, 0 and 0; the first and the third, two apart, share a class.
    feat, label = torch.tensor([[[1.0, 2.0, 0.0]], [[0.0, 0.0, 3.0]]]), torch.tensor([[0, 1, 0]])
    # Pairs 01: (1, 0), 02: (0, 1), 12: (0, 0). Means 1/3; covariance -1/9, variances 2/9.
    assert agreement(feat, label) == pytest.approx(-0.5)
    assert math.isnan(agreement(feat, label, near=1))  # of the near ones none shares a class


def test_command(tmp_path, capsys, monkeypatch):
    config = str(toy_data.write_config(tmp_path, toy_data.write_camvid(tmp_path), crop_size=toy.SIZE))
    cfg = Config.fromfile(config)
    torch.save(dict(state_dict=toy.build(cfg.model).state_dict()), tmp_path / 'x.pth')

    def known(feats, label):
        # Of the segmentation branch, features that say all there is to know.
        one_hot = F.one_hot(label.clamp(min=0), 256).permute(2, 0, 1).float()
        return {name: one_hot if name.startswith('SSSR') else feat for name, feat in feats.items()}, label

    shapes = {}

    def features(model, batch):
        feats, label = real(model, batch)
        shapes.update({name: tuple(feat.shape) for name, feat in feats.items()})
        return known(feats, label)

    real = affinities._features
    monkeypatch.setattr(affinities, '_features', features)
    main([config, str(tmp_path / 'x.pth'), '--every', '2', '--near', '1'])
    head = cfg.model.sr_aux.head
    names = ['SSSR features', 'SSSR features, transformed', 'SISR features', 'image']
    channels = [cfg.model.decode_head.upsampler.channels, head.channels, head.channels, 3]
    assert {name: shape[0] for name, shape in shapes.items()} == dict(zip(names, channels))
    assert len({shape[1:] for shape in shapes.values()}) == 1
    table = {
        row[0].strip(): row[1:] for row in re.findall(r'\| (\w[^|]+) \| +(\S+) \| +(\S+) \|', capsys.readouterr().out)
    }
    assert {*table} == {*names, *(f'{name}, centered' for name in names)}
    assert table['SSSR features'] == ('1.000', '1.000')
    assert all(abs(float(number)) < 0.99 for number in (*table['SISR features'], *table['image']))


def test_needs_a_checkpoint_of_the_training(tmp_path):
    config = str(toy_data.write_config(tmp_path, toy_data.write_camvid(tmp_path)))
    deployed = toy.build(dict(Config.fromfile(config).model.to_dict(), sr_aux=None)).state_dict()
    torch.save(deployed, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='lacks weights .*sr_aux.*take one that training wrote'):
        main([config, str(tmp_path / 'x.pth')])


def test_needs_an_affinity_loss(tmp_path, capsys):
    config = str(toy_data.write_config(tmp_path, toy_data.write_camvid(tmp_path), model=toy.model_cfg(sr_aux=None)))
    with pytest.raises(SystemExit):
        main([config, 'x.pth'])
    assert 'has no affinity loss' in capsys.readouterr().err
