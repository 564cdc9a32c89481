"""Cross-Model Grafting Module of PGNet (CMGM).

Symbols: R are the CNN's features, S the transformer's, both of C channels on one grid of N positions; Y is the cross
attention, one N x N matrix for each head.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from .blocks import conv_norm_act, enlarge, two_convs


class CrossModelGrafting(BaseModule):
    """Cross attention from the CNN's features to the transformer's.

    Queries and values come from R, keys from S: ``Y = softmax(Q K' / sqrt(C / heads))``, and the output is
    ``z + convs(z)`` with ``z = Proj(Y V) + R``. There is no positional encoding, so any grid fits.

    Args:
        channels (int): C. Defaults to 64.
        num_heads (int): heads of the attention; they divide C. Defaults to 8.
        norm_cfg (dict): normalization of the convolutions. Defaults to batch norm.

    Raises:
        ValueError: if the heads do not divide the channels.
    """

    def __init__(self, channels: int = 64, num_heads: int = 8, norm_cfg: dict = dict(type='BN')):
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f'CrossModelGrafting: num_heads={num_heads} does not divide channels={channels}. Choose another of the '
                'two.'
            )
        self.num_heads = num_heads
        self.norm_cnn, self.norm_transformer = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query_value, self.key = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
        self.project = nn.Linear(channels, channels)
        self.convs = two_convs(channels, channels, norm_cfg)

    def _heads(self, tokens: Tensor) -> Tensor:
        """Split tokens (B, N, C) into (B, heads, N, C / heads)."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, cnn: Tensor, transformer: Tensor) -> tuple[Tensor, Tensor | None]:
        """Graft the transformer's features onto the CNN's.

        Args:
            cnn (Tensor): R, (B, C, h, w).
            transformer (Tensor): S, (B, C, h, w).

        Returns:
            tuple[Tensor, Tensor | None]: grafted features (B, C, h, w), and Y, (B, heads, N, N) with N = h w. Only
            training needs Y; in evaluation it is None, and no N x N matrix is kept.
        """
        size = cnn.shape[-2:]
        tokens, others = (x.flatten(2).transpose(1, 2) for x in (cnn, transformer))
        query, value = map(self._heads, self.query_value(self.norm_cnn(tokens)).chunk(2, dim=2))
        key = self._heads(self.key(self.norm_transformer(others)))
        if self.training:
            attention = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(dim=3)
            read = attention @ value
        else:
            attention, read = None, F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(read.transpose(1, 2).flatten(2))
        z = tokens.transpose(1, 2).unflatten(2, tuple(size))
        return z + self.convs(z), attention


@MODELS.register_module(force=True)
class GraftingNeck(BaseModule):
    """Neck that grafts the deepest features of :class:`PGBackbone`'s CNN onto those of its transformer.

    Args:
        in_channels (Sequence[int]): channels of r5 and of s2. Defaults to (512, 256): ResNet-18 and Swin-B.
        channels (int): C, channels of the decoder. Defaults to 64.
        num_heads (int): heads of the attention. Defaults to 8.
        norm_cfg (dict): normalization. Defaults to batch norm.
        init_cfg (dict): initialization. Defaults to Kaiming normal by fan-in, as in the authors' code.

    Raises:
        ValueError: if the heads do not divide the channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 256),
        channels: int = 64,
        num_heads: int = 8,
        norm_cfg: dict = dict(type='BN'),
        init_cfg: dict = dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in'),
    ):
        super().__init__(init_cfg)
        cnn, transformer = in_channels
        self.reduce_cnn = conv_norm_act(cnn, channels, norm_cfg)
        self.reduce_transformer = conv_norm_act(transformer, channels, norm_cfg)
        self.graft = CrossModelGrafting(channels, num_heads, norm_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Graft r5, resized to the grid of s2, onto s2.

        Args:
            inputs (Sequence[Tensor]): r2 to r5 and s1 to s4 of :class:`PGBackbone`.

        Returns:
            tuple[Tensor, ...]: what :class:`PGHead` reads: r2, r3, r4, s1, s3, s4 and the grafted features; in
            training also what :class:`AttentionGuideHead` reads: R, S and Y.
        """
        r2, r3, r4, r5, s1, s2, s3, s4 = inputs
        cnn = self.reduce_cnn(enlarge(r5, s2.shape[-2:]))
        transformer = self.reduce_transformer(s2)
        grafted, attention = self.graft(cnn, transformer)
        for_guide = () if attention is None else (cnn, transformer, attention)
        return r2, r3, r4, s1, s3, s4, grafted, *for_guide
