"""Real persons, where ``COCO_ROOT`` says they are: ground truth through codec and metric, a training step, a test."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS, KEYPOINT_CODECS, METRICS, MODELS

ROOT = Path(os.environ.get('COCO_ROOT', 'unset'))
CONFIGS = Path(__file__).parents[2] / 'configs' / 'dsrl'
pytestmark = [
    pytest.mark.needs('COCO_ROOT'),
    pytest.mark.skipif(
        not (ROOT / 'annotations' / 'person_keypoints_val_mini.json').is_file(),
        reason='COCO_ROOT does not name a cut-down COCO (annotations/person_keypoints_{train,val}_mini.json, images/)',
    ),
]


NAMES = ('hrnet_narrow_coco_128x96', 'hrnet_narrow_coco_128x96_baseline')


def ground_truth_ap(cfg: Config, codec: dict) -> float:
    """AP where every keypoint is drawn on the codec's grid, found on it, and taken back to its image."""
    pipeline = cfg.val_pipeline
    pipeline[1].padding = 1.6  # beyond the usual 1.25: all keypoints lie in their crops
    pipeline[2].use_udp = codec['type'] == 'UDPHeatmap'
    pipeline.insert(3, dict(type='GenerateTarget', encoder=codec))
    dataset = DATASETS.build(dict(cfg.val_dataloader.dataset, pipeline=pipeline))
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    model, decoder = MODELS.build(cfg.model), KEYPOINT_CODECS.build(codec)
    assert len(dataset) == 80
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        keypoints, scores = decoder.decode(sample.gt_fields.heatmaps.numpy())
        # UDP finds no place on the empty heatmaps of keypoints that are not labeled.
        prediction = InstanceData(keypoints=np.nan_to_num(keypoints), keypoint_scores=np.nan_to_num(scores))
        (sample,) = model.add_pred_to_datasample([prediction], None, [sample])
        metric.process(None, [sample.to_dict()])
    return metric.evaluate(len(dataset))['coco/AP']


def test_ground_truth_has_an_average_precision_of_1():
    cfg = Config.fromfile(CONFIGS / f'{NAMES[0]}.py')
    assert ground_truth_ap(cfg, dict(cfg.codec, type='UDPHeatmap')) == pytest.approx(1, abs=1e-6)


def test_plain_msra_costs_the_finer_grid_less():
    ap = {}
    for name in NAMES:
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        ap[name] = ground_truth_ap(cfg, dict(cfg.codec))
    fine, coarse = ap.values()
    assert coarse < 0.95 < fine < 1


def test_trains_and_tests(tmp_path):
    """Three iterations, an evaluation with ground-truth boxes, and a test."""
    cfg = Config.fromfile(CONFIGS / f'{NAMES[0]}.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'train_cfg.max_iters': 3,
            'train_cfg.val_interval': 3,
            'default_hooks.logger.interval': 1,
            'train_dataloader.batch_size': 4,
            'val_dataloader.dataset.indices': 6,
            'test_dataloader.dataset.indices': 6,
        }
    )
    runner = Runner.from_cfg(cfg)
    before = {name: p.clone() for name, p in runner.model.named_parameters()}
    runner.train()
    moved = {name for name, p in runner.model.named_parameters() if not torch.equal(p, before[name])}
    assert {name.split('.')[0] for name in moved} == {name.split('.')[0] for name in before}
    assert set(runner.test()) >= {'coco/AP', 'coco/AR'}
    assert (tmp_path / 'best_coco_AP_iter_3.pth').exists()
