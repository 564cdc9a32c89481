"""Segmentation's part of the commands; its files are tested with the commands, and deploying in ``tests/apis``."""

import pytest
from mmengine.config import Config
from toy import model_cfg

from dsrl_mm.seg import DSRLSegmentor
from dsrl_mm.seg.task import SegTask

TASK = SegTask()


@pytest.mark.parametrize(
    ('model', 'expected'),
    [
        (dict(type='DSRLSegmentor', scale_factor=3, backbone=dict(in_channels=1)), (1, 16, 22)),  # padded to 48x66
        (dict(type=DSRLSegmentor, backbone={}), (3, 24, 32)),  # 2 by default
        (dict(type='EncoderDecoder', backbone={}), (3, 47, 64)),
    ],
)
def test_network_input(model, expected):
    assert TASK.network_input(Config(dict(model=model, crop_size=(47, 64)))) == expected


def test_network_input_needs_a_canvas():
    with pytest.raises(ValueError, match='has no crop_size: set it to height and width of the canvas'):
        TASK.network_input(Config(dict(model=model_cfg())))


def test_tta_says_what_the_config_lacks():
    with pytest.raises(ValueError, match='--tta: the config has no tta_model and no tta_pipeline. .*_base_'):
        TASK.use_tta(Config(dict(model=dict())))


@pytest.mark.parametrize('several', [False, True])
def test_tta_of_several_data_sets(several):
    stock = dict(type='CamVidDataset', pipeline=[dict(type='LoadImageFromFile')])
    dataset = dict(type='ConcatDataset', datasets=[dict(stock), dict(stock)]) if several else dict(stock)
    cfg = Config(dict(model={}, tta_model={}, tta_pipeline=['tta'], test_dataloader=dict(dataset=dataset)))
    TASK.use_tta(cfg)
    changed = cfg.test_dataloader.dataset
    assert 'pipeline' not in changed or not several
    assert [part.pipeline for part in (changed.datasets if several else [changed])] == [['tta']] * (1 + several)


@pytest.mark.parametrize('type_', ['SRMetric', 'unknown'])
def test_out_needs_a_metric_that_writes_masks(type_):
    with pytest.raises(ValueError, match='--out: an? IoUMetric writes the masks, .*none. Add dict.type="IoUMetric"'):
        TASK.keep_predictions(Config(dict(test_evaluator=dict(type=type_))), 'masks')


def test_show_needs_a_hook():
    with pytest.raises(ValueError, match=r'visualization=dict\(type="SegVisualizationHook"\)'):
        TASK.draw_predictions(Config(dict(default_hooks={})), True, None, 1)


def test_sr_metrics_know_the_scale_factor_if_it_is_the_default():
    cfg = model_cfg()
    del cfg['scale_factor']
    cfg = Config(dict(model=cfg, test_evaluator=dict(type='IoUMetric')))
    TASK.use_sr_metrics(cfg)
    assert cfg.model.test_cfg.with_sr is True
    assert cfg.test_evaluator == [dict(type='IoUMetric'), dict(type='SRMetric', scale_factor=2)]


def test_a_model_deployed_for_frames_is_neither_trained_nor_tested():
    with pytest.raises(ValueError, match=r'\(model.low_res_input=True\), so there is nothing to train or test on. Use'):
        TASK.check_data(Config(dict(model=dict(low_res_input=True))), ('test',))


@pytest.mark.parametrize(('type_', 'expected'), [(DSRLSegmentor, True), ('EncoderDecoder', False)])
def test_only_a_dsrl_segmentor_reads_frames(type_, expected):
    assert TASK.reads_frames(Config(dict(model=dict(type=type_)))) is expected
