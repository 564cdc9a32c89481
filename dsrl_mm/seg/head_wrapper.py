"""Base of the heads that build on the features of any MMSegmentation decode head."""

from collections.abc import Sequence

import torch.nn as nn
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

#: Steps after ``forward``, which a wrapper takes over. It would bypass those that a head overrides.
_STEPS = ('cls_seg', 'loss', 'loss_by_feat', 'predict', 'predict_by_feat')


def _identity(feat: Tensor) -> Tensor:
    return feat


def _refuse(name: str, reason: str, wrapper: str) -> None:
    raise TypeError(
        f'{wrapper} cannot wrap {name}: {reason}. It needs a head whose forward ends in BaseDecodeHead.cls_seg and '
        'whose losses are those of loss_decode, such as PSPHead, DepthwiseSeparableASPPHead, UPerHead, FCNHead or '
        'SegformerHead: set model.decode_head.decode_head to one of these.'
    )


def check_wrappable(head: type, wrapper: str = 'SSSRHead') -> None:
    """Raise a TypeError that says why, if nothing can be put on top of a class of decode heads."""
    if issubclass(head, BaseCascadeDecodeHead):
        _refuse(head.__name__, 'it is a stage of a cascade', wrapper)
    if not issubclass(head, BaseDecodeHead):
        _refuse(
            head.__name__, 'it is no BaseDecodeHead with logits for every pixel (mask classification, perhaps)', wrapper
        )
    own = [step for step in _STEPS if getattr(head, step) is not getattr(BaseDecodeHead, step)]
    if own:
        _refuse(head.__name__, f'it has a {" and a ".join(own)} of its own', wrapper)


class HeadWrapper(BaseModule):
    """Decode head around a stock one, which provides features, losses, label handling and class counts.

    A subclass computes the logits in ``forward``, from :meth:`features`. A stock checkpoint can be loaded: its keys are
    renamed.

    Args:
        decode_head (dict): config of the wrapped head: a ``BaseDecodeHead`` whose ``forward`` ends in ``cls_seg`` and
            that does not override the steps after it (PSPHead, ASPPHead, DepthwiseSeparableASPPHead, UPerHead, FCNHead,
            SegformerHead, LightHamHead, ...).

    Raises:
        TypeError: if the head cannot be wrapped: a stage of a cascade, a head with its own losses or predictions, or
            one that classifies masks.
    """

    #: What a stock checkpoint does not have, for the log.
    _new_parts: str

    def __init__(self, decode_head: dict):
        super().__init__()
        self.decode_head = head = MODELS.build(decode_head)
        check_wrappable(type(head), type(self).__name__)
        if not isinstance(getattr(head, 'conv_seg', None), nn.Conv2d):
            _refuse(type(head).__name__, 'it has no conv_seg layer', type(self).__name__)
        # Shadows the method: the wrapped head's forward now ends with the features that enter cls_seg.
        head.cls_seg = _identity
        self._register_load_state_dict_pre_hook(self.adopt_stock_checkpoint)
        # Attributes of a decode head that segmentors, test-time augmentation and hooks read.
        self.num_classes, self.out_channels, self.threshold = head.num_classes, head.out_channels, head.threshold
        self.align_corners, self.ignore_index = head.align_corners, head.ignore_index

    def adopt_stock_checkpoint(self, state_dict: dict, prefix: str, *_) -> None:
        """Rename a stock head's keys (``PREFIX.x``) to the wrapped head's (``PREFIX.decode_head.x``), in place.

        Runs before the head's weights are loaded. Other checkpoints stay unchanged.
        """
        stock = [key for key in state_dict if key.startswith(prefix)]
        if not stock or any(key.startswith(f'{prefix}decode_head.') for key in stock):
            return
        for key in stock:
            state_dict[f'{prefix}decode_head.{key[len(prefix) :]}'] = state_dict.pop(key)
        print_log(
            f"{type(self).__name__}: the checkpoint is a stock head's; its {len(stock)} tensors go to the wrapped "
            f'{type(self.decode_head).__name__}. {self._new_parts}',
            logger='current',
        )

    def features(self, inputs: Sequence[Tensor]) -> Tensor:
        """Run the wrapped head up to what enters its ``conv_seg``, (B, C, h, w), before dropout.

        Args:
            inputs (Sequence[Tensor]): the backbone's or neck's features, each (B, C_i, H_i, W_i).

        Raises:
            TypeError: if the wrapped head's forward turns out not to end in ``cls_seg``.
        """
        head = self.decode_head
        feat = head(inputs)
        if not isinstance(feat, Tensor) or feat.shape[1] != head.channels:
            got = f'shape {tuple(feat.shape)}' if isinstance(feat, Tensor) else f'a {type(feat).__name__}'
            reason = f'its forward gives {got}, not what enters conv_seg'
            _refuse(type(head).__name__, reason, type(self).__name__)
        return feat

    def loss_by_feat(self, logits: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the wrapped head's losses of logits (B, K, h, w) on the full-size labels."""
        return self.decode_head.loss_by_feat(logits, data_samples)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses; the stock interface."""
        return self.loss_by_feat(self(inputs), batch_data_samples)

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict) -> Tensor:
        """Logits of the canvas's size, (B, K, H, W); ``batch_img_metas`` say which that is."""
        return self.decode_head.predict_by_feat(self(inputs), batch_img_metas)
