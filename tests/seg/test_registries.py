"""Components that MMSegmentation may one day have under the same name."""

import runpy

import pytest
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS


@pytest.mark.parametrize(
    ('module', 'registry', 'name'),
    [
        ('networks.dabnet', MODELS, 'DABNet'),
        ('networks.espnetv2', MODELS, 'ESPNetv2'),
        ('networks.espnetv2_head', MODELS, 'ESPNetv2Head'),
        ('datasets.camvid', DATASETS, 'CamVidDataset'),
        ('datasets.color_labels', TRANSFORMS, 'LoadColorAnnotations'),
        ('datasets.frames', TRANSFORMS, 'EnlargeFrame'),
        ('datasets.frames', TRANSFORMS, 'AlignedRandomCrop'),
        ('metrics.boundary', METRICS, 'BoundaryMetric'),
        ('metrics.class_iou', METRICS, 'ClassIoUMetric'),
    ],
)
@pytest.mark.filterwarnings('ignore:.*found in sys.modules')
def test_ours_replaces_it(monkeypatch, module, registry, name):
    hosts = type(name, (), {})
    monkeypatch.setattr(registry, '_module_dict', {**registry.module_dict, name: hosts})
    namespace = runpy.run_module(f'dsrl_mm.seg.{module}')
    assert registry.get(name) is namespace[name]
