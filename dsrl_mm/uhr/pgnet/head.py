"""Decoder of PGNet."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from .blocks import Fusion, conv_norm_act, enlarge
from .masks import check_binary, mask_of


class _StaggeredFusion(BaseModule):
    """Fusion of the decoder with feature maps of both encoders, brought to the CNN's grid."""

    def __init__(self, transformer_channels: int, cnn_channels: int, channels: int, norm_cfg: dict):
        super().__init__()
        self.reduce_transformer = conv_norm_act(transformer_channels, channels, norm_cfg)
        self.reduce_cnn = conv_norm_act(cnn_channels, channels, norm_cfg)
        self.join = conv_norm_act(channels, channels, norm_cfg)
        self.fuse = Fusion(channels, channels, norm_cfg)

    def forward(self, transformer: Tensor, cnn: Tensor, coarse: Tensor) -> Tensor:
        fine = self.reduce_transformer(enlarge(transformer, cnn.shape[-2:])) + self.reduce_cnn(cnn)
        return self.fuse(self.join(fine), coarse)


@MODELS.register_module(force=True)
class PGHead(BaseDecodeHead):
    """Decode head of PGNet: from the transformer's deepest features up to a quarter of the image.

    It reads r2, r3, r4, s1, s3, s4 and the grafted features of :class:`GraftingNeck`. The order is staggered: s4 and s3
    of the transformer, the grafted features, s1 and r4 together, then r3 and r2 of the CNN. Feature maps are resized to
    each other, so any size of image fits.

    Args:
        in_channels (Sequence[int]): channels of the inputs. Defaults to (64, 128, 256, 128, 512, 512, 64): ResNet-18
            and Swin-B.
        channels (int): C, channels of the decoder. Defaults to 64.
        num_classes (int): 2, background and object.
        out_channels (int): 1.
        threshold (float): of the sigmoid, above which a pixel is the object. Defaults to 0.5.
        norm_cfg (dict): normalization. Defaults to batch norm.
        loss_decode (dict): loss of masks in [0, 1]. Defaults to :class:`BCEIoULoss`.
        init_cfg (dict): initialization. Defaults to Kaiming normal by fan-in, as in the authors' code.
        **kwargs: other arguments of ``BaseDecodeHead``.

    Raises:
        ValueError: if there are not seven inputs, or for other numbers of classes and output channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 128, 512, 512, 64),
        channels: int = 64,
        *,
        num_classes: int = 2,
        out_channels: int = 1,
        threshold: float = 0.5,
        norm_cfg: dict = dict(type='BN'),
        loss_decode: dict = dict(type='BCEIoULoss'),
        init_cfg: dict = dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
        **kwargs,
    ):
        check_binary('PGHead', num_classes, out_channels)
        if len(in_channels) != 7:
            raise ValueError(
                'PGHead: in_channels are those of r2, r3, r4, s1, s3, s4 and the grafted features, 7 numbers, but got '
                f'{tuple(in_channels)}'
            )
        super().__init__(
            list(in_channels),
            channels,
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            num_classes=num_classes,
            out_channels=out_channels,
            threshold=threshold,
            dropout_ratio=0,
            norm_cfg=norm_cfg,
            loss_decode=loss_decode,
            init_cfg=init_cfg,
            **kwargs,
        )
        r2, r3, r4, s1, s3, s4, grafted = in_channels
        squeeze = conv_norm_act(s4, channels, norm_cfg, kernel_size=1)
        self.context = squeeze + conv_norm_act(channels, channels, norm_cfg, dilation=2)
        self.fuse_s3 = Fusion(s3, channels, norm_cfg)
        self.fuse_grafted = Fusion(grafted, channels, norm_cfg)
        self.fuse_r4 = _StaggeredFusion(s1, r4, channels, norm_cfg)
        self.fuse_r3 = Fusion(r3, channels, norm_cfg)
        self.fuse_r2 = Fusion(r2, channels, norm_cfg)
        self.conv_seg = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits (B, 1, H / 4, W / 4) from the features of :class:`GraftingNeck`."""
        r2, r3, r4, s1, s3, s4, grafted = self._transform_inputs(inputs)
        x = self.fuse_s3(s3, self.context(s4))
        x = self.fuse_grafted(grafted, x)
        x = self.fuse_r4(s1, r4, x)
        return self.cls_seg(self.fuse_r2(r2, self.fuse_r3(r3, x)))

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the loss of logits (B, 1, h, w), enlarged to the masks; see :func:`mask_of`."""
        mask, valid = mask_of(batch_data_samples, self.ignore_index)
        logits = resize(seg_logits, mask.shape[-2:], mode='bilinear', align_corners=self.align_corners)
        return {self.loss_decode.loss_name: self.loss_decode(logits, mask, weight=valid)}
