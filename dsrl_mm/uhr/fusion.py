"""Relation-aware fusion (RAF) of ISDNet (Guo et al., CVPR 2022).

Symbols: s and c, the shallow and the deep features, C channels each; a_s and a_c, their means over an image after a
linear layer; r, the number of groups; A, the r x r products of the groups of a_s with those of a_c.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn


class _Gate(BaseModule):
    """Weights of one branch's channels: sigmoid(a + g M), M = MLP(A), where g is learned and starts at 0."""

    def __init__(self, channels: int, groups: int, relation: bool, norm_cfg: dict):
        super().__init__()
        self.describe = ConvModule(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.relate = None
        if relation:
            self.relate = nn.Sequential(
                nn.Linear(groups**2, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels), nn.ReLU()
            )
            self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, description: Tensor, relations: Tensor) -> Tensor:
        """Weigh channels, (B, C, 1, 1), by a (B, C, 1, 1) and A (B, r^2)."""
        if self.relate is not None:
            description = description + self.scale * self.relate(relations)[..., None, None]
        return description.sigmoid()


@MODELS.register_module(force=True)
class RelationAwareFusion(BaseModule):
    """Fuses features of the shallow and of the deep network, on the grid of the shallow one.

    The defaults are the paper's. Rows of its Table 6: ADD, ``channel_weights=False, relations=()``; CAT, the same with
    ``merge='cat'``; CW, ``relations=()``; M_s and M_d, one of ``relations`` or both.

    Args:
        shallow_channels (int): channels of the shallow features.
        channels (int): channels of the deep features and of all others, C. Defaults to 128.
        groups (int): groups that each branch's channels are related by, r; divides ``channels``. Defaults to 16.
        merge (str): how the branches are joined: 'add', or 'cat' for concatenation. Defaults to 'add'.
        channel_weights (bool): whether each branch's channels are weighted by a gate, sigmoid(a). Defaults to True.
        relations (Sequence[str]): branches whose gates also depend on A: 'shallow', 'deep'. Defaults to both.
        norm_cfg (dict): normalization. Defaults to batch norm.
        pool_norm_cfg (dict, optional): normalization of a_s and a_c, which have a single value per image and channel:
            batch norm needs two images per process in training, SyncBN two in all, and
            ``dict(type='GN', num_groups=1)`` takes one. Defaults to None: ``norm_cfg``.

    Raises:
        ValueError: if ``groups`` does not divide ``channels``, for an unknown ``merge`` or branch, or for relations
            without channel weights.
    """

    def __init__(
        self,
        shallow_channels: int,
        channels: int = 128,
        groups: int = 16,
        merge: str = 'add',
        channel_weights: bool = True,
        relations: Sequence[str] = ('shallow', 'deep'),
        norm_cfg: dict = dict(type='BN'),
        pool_norm_cfg: dict | None = None,
    ):
        super().__init__()
        if groups < 1 or channels % groups:
            raise ValueError(f'RelationAwareFusion: groups={groups} must divide channels={channels}')
        if merge not in ('add', 'cat'):
            raise ValueError(f"RelationAwareFusion: merge must be 'add' or 'cat', got {merge!r}")
        if not set(relations) <= {'shallow', 'deep'}:
            raise ValueError(f"RelationAwareFusion: relations are of 'shallow' and 'deep', got {relations!r}")
        if relations and not channel_weights:
            raise ValueError('RelationAwareFusion: relations are part of the channel weights; set relations=(), too')
        self.channels, self.groups, self.merge = channels, groups, merge
        self.shallow = ConvModule(shallow_channels, channels, 3, padding=1, norm_cfg=norm_cfg)
        self.deep = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg)
        self.gates = None
        if channel_weights:
            branches = ('shallow', 'deep')
            self.gates = nn.ModuleList(
                _Gate(channels, groups, branch in relations, pool_norm_cfg or norm_cfg) for branch in branches
            )
        self.enlarged = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg)
        merged = channels if merge == 'add' else 2 * channels
        self.fused = ConvModule(merged, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse shallow features (B, shallow_channels, H, W) and deep ones (B, C, h, w).

        Returns:
            tuple[Tensor, Tensor]: the weighted deep features, enlarged, and the fused ones; both (B, C, H, W).
        """
        s, c = self.shallow(shallow), self.deep(deep)
        if self.gates is not None:
            weights_s, weights_c = self._weights(s, c)
            s, c = s * weights_s, c * weights_c
        if c.shape[-2:] != s.shape[-2:]:
            c = F.interpolate(c, s.shape[-2:], mode='bilinear', align_corners=False)
        c = self.enlarged(c)
        return c, self.fused(s + c if self.merge == 'add' else torch.cat([s, c], 1))

    def _weights(self, s: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        a_s, a_c = (gate.describe(x.mean((2, 3), keepdim=True)) for gate, x in zip(self.gates, (s, c)))
        grouped_s, grouped_c = (a.view(a.shape[0], self.groups, -1) for a in (a_s, a_c))
        relations = (grouped_s @ grouped_c.transpose(1, 2)).flatten(1)
        return self.gates[0](a_s, relations), self.gates[1](a_c, relations)
