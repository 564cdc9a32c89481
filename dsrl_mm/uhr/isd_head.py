"""Decode head of ISDNet (Guo et al., CVPR 2022) around the head of any deep network."""

from collections.abc import Sequence
from typing import NamedTuple

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..seg.head_wrapper import HeadWrapper


class ISDFeatures(NamedTuple):
    """Features of :class:`ISDHead`; h x w is the deep head's grid, H x W the canvas."""

    deep: Tensor  # what enters the deep head's conv_seg: (B, C_deep, h, w)
    context: Tensor  # the same with the channels of the fusion, the paper's D: (B, C, h, w)
    deep_16: Tensor  # weighted deep features of the first fusion: (B, C, H / 16, W / 16)
    deep_8: Tensor  # of the second: (B, C, H / 8, W / 8)
    fused: Tensor  # (B, C, H / 8, W / 8)


class _Classifier(BaseModule):
    """3x3 convolution and classifier."""

    def __init__(self, in_channels: int, channels: int, out_channels: int, norm_cfg: dict):
        # As MMSegmentation initializes classifiers.
        super().__init__(dict(type='Normal', std=0.01, override=dict(name='conv_seg')))
        self.conv = ConvModule(in_channels, channels, 3, padding=1, norm_cfg=norm_cfg)
        self.conv_seg = nn.Conv2d(channels, out_channels, 1)

    def forward(self, feat: Tensor) -> Tensor:
        return self.conv_seg(self.conv(feat))


@MODELS.register_module(force=True)
class ISDHead(HeadWrapper):
    """Fuses the features of a deep network's head with a shallow network's, and predicts at 1/8 of the canvas.

    The deep features, taken from where they enter the wrapped head's ``conv_seg``, are fused with the shallow ones
    first at 1/16, then at 1/8 of the canvas. Losses, label handling and class counts are the wrapped head's. Its own
    classifier is needed in training only and belongs to :class:`~dsrl_mm.uhr.ISDAux`.

    Args:
        decode_head (dict): config of the deep network's head, see :class:`~dsrl_mm.seg.HeadWrapper`. If its channels
            are not the fusion's, a 1x1 convolution follows.
        shallow_channels (Sequence[int]): channels of the shallow features at 1/8 and 1/16; set by
            :class:`~dsrl_mm.uhr.ISDSegmentor`.
        fusion (dict): config of both fusions. Defaults to a :class:`~dsrl_mm.uhr.RelationAwareFusion` with 128
            channels.
        channels (int): channels of the 3x3 convolution before the classifier. Defaults to 64.
        dropout_ratio (float): of the fused features. Defaults to 0.1.
        norm_cfg (dict, optional): normalization of all layers around the wrapped head. Defaults to None: the wrapped
            head's, or batch norm if it has none.
    """

    _new_parts = 'All else of the head is new, and the classifier is left out.'

    def __init__(
        self,
        decode_head: dict,
        shallow_channels: Sequence[int],
        fusion: dict = dict(type='RelationAwareFusion'),
        channels: int = 64,
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
    ):
        super().__init__(decode_head)
        deep = self.decode_head
        deep.conv_seg = nn.Identity()
        self.norm_cfg = norm_cfg or deep.norm_cfg or dict(type='BN')
        fusion = dict(norm_cfg=self.norm_cfg) | fusion
        self.fuse_8, self.fuse_16 = (MODELS.build(dict(fusion, shallow_channels=c)) for c in shallow_channels)
        self.fused_channels, self.channels = self.fuse_8.channels, channels
        self.reduce = None
        if deep.channels != self.fused_channels:
            self.reduce = ConvModule(deep.channels, self.fused_channels, 1, norm_cfg=self.norm_cfg)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.classifier = self.new_classifier()

    def new_classifier(self) -> nn.Module:
        """Build a 3x3 convolution and a classifier on features of the fusions' channels."""
        return _Classifier(self.fused_channels, self.channels, self.out_channels, self.norm_cfg)

    def fuse(self, feats: Sequence[Tensor], shallow_feats: tuple[Tensor, Tensor]) -> ISDFeatures:
        """Compute all features.

        Args:
            feats (Sequence[Tensor]): of the deep backbone or its neck, for the wrapped head.
            shallow_feats (tuple[Tensor, Tensor]): at 1/8 and 1/16 of the canvas.
        """
        deep = self.features(feats)
        context = deep if self.reduce is None else self.reduce(deep)
        deep_16, fused = self.fuse_16(shallow_feats[1], context)
        deep_8, fused = self.fuse_8(shallow_feats[0], fused)
        return ISDFeatures(deep, context, deep_16, deep_8, fused)

    def classify(self, fused: Tensor) -> Tensor:
        """Logits (B, K, H / 8, W / 8) of the fused features."""
        return self.classifier(self.dropout(fused))

    def forward(self, inputs: tuple[Sequence[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        """Logits at 1/8 of the canvas, (B, K, H / 8, W / 8); ``inputs`` are the arguments of :meth:`fuse`."""
        return self.classify(self.fuse(*inputs).fused)
