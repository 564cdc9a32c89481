"""Training-only part of PGNet: what teaches the grafting's attention."""

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from .blocks import conv_norm_act
from .masks import check_binary, mask_of


@MODELS.register_module(force=True)
class AttentionGuideHead(BaseDecodeHead):
    """Auxiliary head of PGNet: the Attention Guided Loss, and a prediction from each encoder alone.

    The attention Y of :class:`CrossModelGrafting` becomes the cross attention map (CAM) by
    ``ReLU(BN(conv(Y + Y')))``, a convolution over pairs of positions with the heads as channels; another convolution
    gives the logit of each pair. R and S each give a mask by one convolution.

    As an auxiliary head it exists in training alone: inference neither runs it nor needs its weights.

    Args:
        in_channels (Sequence[int]): channels of R and S, and heads of Y. Defaults to (64, 64, 8).
        in_index (Sequence[int]): their positions in the neck's output. Defaults to (7, 8, 9).
        num_classes (int): 2, background and object.
        out_channels (int): 1.
        threshold (float): as of the decode head. Defaults to 0.5.
        norm_cfg (dict): normalization of the CAM. Defaults to batch norm.
        loss_decode (dict): loss of both encoders' masks. Defaults to :class:`BCEIoULoss` with the paper's weight, 1/8.
        loss_attention (dict): loss of the attention. Defaults to :class:`AttentionGuidedLoss`.
        init_cfg (dict): initialization. Defaults to Kaiming normal by fan-in, as in the authors' code.
        **kwargs: other arguments of ``BaseDecodeHead``.

    Raises:
        ValueError: for other numbers of classes and output channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 64, 8),
        *,
        in_index: Sequence[int] = (7, 8, 9),
        num_classes: int = 2,
        out_channels: int = 1,
        threshold: float = 0.5,
        norm_cfg: dict = dict(type='BN'),
        loss_decode: dict = dict(type='BCEIoULoss', loss_weight=0.125),
        loss_attention: dict = dict(type='AttentionGuidedLoss'),
        init_cfg: dict = dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
        **kwargs,
    ):
        check_binary('AttentionGuideHead', num_classes, out_channels)
        super().__init__(
            list(in_channels),
            in_channels[0],
            in_index=list(in_index),
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
        del self.conv_seg  # there are two of its kind
        cnn, transformer, heads = in_channels
        self.cnn_seg = nn.Conv2d(cnn, out_channels, 3, padding=1)
        self.transformer_seg = nn.Conv2d(transformer, out_channels, 3, padding=1)
        self.cam = conv_norm_act(heads, heads, norm_cfg).append(nn.Conv2d(heads, 1, 3, padding=1))
        self.loss_attention = MODELS.build(loss_attention)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of the CNN and of the transformer, (B, 1, h, w), and of the CAM, (B, 1, N, N)."""
        cnn, transformer, attention = self._transform_inputs(inputs)
        cam = self.cam(attention + attention.transpose(2, 3))
        return self.cnn_seg(cnn), self.transformer_seg(transformer), cam

    def loss_by_feat(
        self, seg_logits: tuple[Tensor, Tensor, Tensor], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Compute the three losses on the attention's grid; see :func:`mask_of`."""
        cnn, transformer, cam = seg_logits
        mask, valid = (
            resize(x, cnn.shape[-2:], mode='bilinear', align_corners=self.align_corners)
            for x in mask_of(batch_data_samples, self.ignore_index)
        )
        return {
            f'{self.loss_decode.loss_name}_cnn': self.loss_decode(cnn, mask, weight=valid),
            f'{self.loss_decode.loss_name}_transformer': self.loss_decode(transformer, mask, weight=valid),
            self.loss_attention.loss_name: self.loss_attention(cam, mask, cnn, transformer, valid),
        }
