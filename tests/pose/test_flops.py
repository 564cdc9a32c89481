"""The table of parameters and operations, of pose networks. They are here because they need MMPose."""

import pytest
from mmengine.config import Config
from toy_pose import CANVAS, build, model_cfg

from dsrl_mm.engine.complexity import measure_complexity
from tools.analysis_tools.get_flops import count


def test_counts_what_a_pose_network_reads(tmp_path):
    path = tmp_path / 'pose.py'
    path.write_text(f"default_scope = 'mmpose'\nmodel = {model_cfg(scale_factor=2)!r}\n")
    cfg = Config.fromfile(path)
    cost, stock = (measure_complexity(build(model_cfg(dsrl)), CANVAS[::-1]) for dsrl in (True, False))
    row = count(cfg)
    assert row['input size'] == '64x32'
    assert row['GMACs'] * 1e9 == pytest.approx(cost.macs)
    assert row['in training'] * 1e6 == pytest.approx(cost.params + cost.training_params)
    assert row['SSSR adds %'] == pytest.approx(100 * (cost.macs / stock.macs - 1))
    # The stack by hand, on 16x8 features of 4 channels: squeezed to 6, deconvolved to 32x16, to 3 heatmaps.
    assert cost.macs - stock.macs == 128 * (4 * 6 + 6 * 6 * 16) + 4 * 128 * 6 * 3
    assert count(cfg, (128, 64))['GMACs'] == pytest.approx(4 * row['GMACs'], rel=0.1)
