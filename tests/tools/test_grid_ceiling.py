"""Labels through a network's logits grid."""

import math

import pytest
import torch
import toy
import toy_data
from mmengine.config import Config

from dsrl_mm.seg import CamVidDataset
from tools.analysis_tools import grid_ceiling
from tools.analysis_tools.grid_ceiling import grid_scores, head_strides, main, through_grid


def test_keeps_what_fills_the_cells_and_loses_a_thin_line():
    label = torch.zeros(16, 16, dtype=torch.long)
    label[:, 8:] = 1
    assert torch.equal(through_grid(label, (4, 4), 3), label)
    label[5] = 2  # a quarter of its cells, of which one of the others has three
    assert torch.equal(through_grid(label, (16, 16), 3), label)
    assert not (through_grid(label, (4, 4), 3) == 2).any()


def test_pixels_of_no_class_do_not_spread():
    label = torch.full((8, 8), 255)
    label[0, 0] = 1
    assert (through_grid(label, (1, 1), 2) == 1).all()


def test_strides_are_those_of_the_heads_on_the_canvas(tmp_path):
    """The features have an eighth of the input's size, which has half the canvas's; SSSR doubles their grid."""
    cfg = Config.fromfile(toy_data.write_config(tmp_path, tmp_path, crop_size=toy.SIZE))
    assert head_strides(cfg) == dict(FCNHead=(16, 16), SSSRHead=(8, 8))
    cfg.model.decode_head, cfg.model.sr_aux = cfg.model.decode_head.decode_head, None
    assert head_strides(cfg) == dict(FCNHead=(16, 16))
    cfg.pop('crop_size')
    with pytest.raises(ValueError, match='has no crop_size: set it to height and width of the canvas'):
        head_strides(cfg)


def test_scores_the_labels_of_the_test_set(tmp_path, capsys):
    """The toy labels are squares of 8 pixels: a grid of that stride holds their cells, one of 48 does not."""
    data = toy_data.write_camvid(tmp_path)
    config = toy_data.write_config(tmp_path, data, crop_size=toy.SIZE)
    scores = grid_scores(Config.fromfile(config), {'1': (1, 1), '8': (8, 8), '48': (48, 48)})
    assert scores['1']['mIoU'] == scores['1']['mBF'] == 100
    assert 100 > scores['8']['mIoU'] > 60 > scores['48']['mIoU']
    main([str(config), '--strides', '1', '8'])
    rows = [line.split('|')[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    table = {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows}
    assert table[''] == ['FCNHead, stride 16', 'SSSRHead, stride 8', 'stride 1']
    assert table['mIoU'][1:] == [f'{scores["8"]["mIoU"]:.2f}', '100.00']
    assert {'mBF', 'IoU.Sky', 'BF.Sky'} <= table.keys() and 'aAcc' not in table
    main([str(config)])
    assert '| SSSRHead, stride 8 | stride 4 |' in ' '.join(capsys.readouterr().out.split())


def test_grids_of_labels_and_what_is_ignored(tmp_path, monkeypatch):
    cfg = Config.fromfile(toy_data.write_config(tmp_path, toy_data.write_camvid(tmp_path, val=1)))
    cfg.model.decode_head.decode_head.ignore_index = 3
    grids = []
    monkeypatch.setattr(grid_ceiling, 'through_grid', lambda label, grid, _: grids.append(grid) or label)
    scores = grid_scores(cfg, dict(a=(48, 8), b=(8.3, 8.3), c=(500, 500)))
    assert grids == [[1, 8], [6, 8], [1, 1]]  # of 48x64 pixels
    names = CamVidDataset.METAINFO['classes']
    assert [name for name in names if math.isnan(scores['a'][f'IoU.{name}'])] == [names[3]]
