"""Losses that transfer the structure of SISR features to segmentation features, as registered modules."""

from abc import ABC, abstractmethod

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .affinity import affinity_loss, gram_distance, mean_abs_difference
from .resample import check_weight

_SAMPLING = ('pool', 'stride', 'random')


def common_grid(seg_feat: Tensor, sr_feat: Tensor, subsample: int) -> tuple[int, int]:
    """Return the grid (height, width) on which two feature maps (B, C, H, W) of one scene are compared.

    It is ``subsample`` times coarser than the finer map on each side (rounded up), and no finer than either map.
    """
    return tuple(min(-(-max(sides) // subsample), *sides) for sides in zip(seg_feat.shape[-2:], sr_feat.shape[-2:]))


def _pool(feat: Tensor, grid: tuple[int, int]) -> Tensor:
    # Adaptive pooling drops no border, whatever the sizes.
    return feat if feat.shape[-2:] == grid else F.adaptive_avg_pool2d(feat, grid)


def common_positions(
    seg_feat: Tensor, sr_feat: Tensor, subsample: int, sampling: str, center: bool = False
) -> tuple[Tensor, Tensor, int]:
    """Bring two feature maps of one scene to the positions at which they are compared.

    Args:
        seg_feat (Tensor): shape (B, C1, H1, W1).
        sr_feat (Tensor): shape (B, C2, H2, W2).
        subsample (int): see :func:`common_grid`.
        sampling (str): see :class:`FALoss`.
        center (bool): see :class:`FALoss`. A random sample is centered on the mean of all positions, so that its loss
            is an unbiased estimate. Defaults to False.

    Returns:
        tuple[Tensor, Tensor, int]: features of shapes (B, C1, H', W') and (B, C2, H', W'), and the number of positions
        they are drawn from. Without random sampling, that is H' W'.
    """
    grid = common_grid(seg_feat, sr_feat, subsample)
    if sampling == 'stride':
        seg_feat, sr_feat = (F.interpolate(feat, grid, mode='nearest-exact') for feat in (seg_feat, sr_feat))
    elif sampling == 'pool':
        seg_feat, sr_feat = _pool(seg_feat, grid), _pool(sr_feat, grid)
    else:
        finest = common_grid(seg_feat, sr_feat, 1)
        seg_feat, sr_feat = _pool(seg_feat, finest), _pool(sr_feat, finest)
    if center:
        seg_feat, sr_feat = _center(seg_feat), _center(sr_feat)
    if sampling == 'random':
        population = finest[0] * finest[1]
        chosen = torch.randperm(population, device=seg_feat.device)[: max(grid[0] * grid[1], 2)]
        return seg_feat.flatten(2)[:, :, None, chosen], sr_feat.flatten(2)[:, :, None, chosen], population
    return seg_feat, sr_feat, grid[0] * grid[1]


def _center(feat: Tensor) -> Tensor:
    """Subtract the mean over each image from features (B, C, H, W), ignoring zero vectors such as padding."""
    present = feat.any(dim=1, keepdim=True)
    mean = feat.sum((2, 3), keepdim=True) / present.sum((2, 3), keepdim=True).clamp_min(1)
    return (feat - mean) * present


class _StructureLoss(nn.Module, ABC):
    """Base of both losses: selects positions and precision, detaches the guide, applies the weight."""

    def __init__(
        self,
        loss_weight: float,
        subsample: int,
        sampling: str,
        detach_guide: bool,
        loss_name: str,
        center: bool = False,
    ):
        super().__init__()
        if isinstance(subsample, bool) or not isinstance(subsample, int) or subsample < 1:
            raise ValueError(f'{type(self).__name__}: subsample must be an integer of at least 1, got {subsample!r}')
        if sampling not in _SAMPLING:
            raise ValueError(f'{type(self).__name__}: sampling must be one of {_SAMPLING}, got {sampling!r}')
        self.loss_weight, self.loss_name = check_weight(type(self).__name__, loss_weight), loss_name
        self.subsample, self.sampling, self.detach_guide, self.center = subsample, sampling, detach_guide, center

    def forward(self, seg_feat: Tensor, sr_feat: Tensor) -> Tensor:
        """Compute the weighted loss.

        Args:
            seg_feat (Tensor): SSSR features, shape (B, C1, H1, W1), any float dtype. Half precision is computed in
                float32, also under autocast.
            sr_feat (Tensor): SISR features of the same images, shape (B, C2, H2, W2).

        Returns:
            Tensor: a scalar, ``loss_weight`` times the loss; float32, or float64 for float64 features.

        Raises:
            ValueError: if either is not 4-dimensional, or the batches differ.
        """
        if seg_feat.dim() != 4 or sr_feat.dim() != 4 or len(seg_feat) != len(sr_feat):
            raise ValueError(
                f'{type(self).__name__} compares two feature maps (B, C, H, W) of the same images, got shapes '
                f'{tuple(seg_feat.shape)} and {tuple(sr_feat.shape)}'
            )
        if self.detach_guide:
            sr_feat = sr_feat.detach()
        dtype = torch.promote_types(torch.promote_types(seg_feat.dtype, sr_feat.dtype), torch.float32)
        with torch.autocast(seg_feat.device.type, enabled=False):
            feats = seg_feat.to(dtype), sr_feat.to(dtype)
            feats = common_positions(*feats, self.subsample, self.sampling, self.center)
            return self.loss_weight * self.compare(*feats)

    @abstractmethod
    def compare(self, seg_feat: Tensor, sr_feat: Tensor, population: int) -> Tensor:
        """Compute the loss of features (B, C1, H', W') and (B, C2, H', W'), a sample of ``population`` positions."""


@MODELS.register_module(force=True)
class FALoss(_StructureLoss):
    """Feature affinity loss (Eq. 4 of the paper): aligns the affinities of segmentation features with SISR features.

    ``L_fa = 1 / N^2 * sum_ij ||S_ij^seg - S_ij^sr||_q``, averaged over the batch.

    Args:
        loss_weight (float): w2. Defaults to 1.0, as in the paper; its slides say 0.1.
        q (int): norm of the difference, 1 or 2. Defaults to 1.
        subsample (int): ratio of the sides of the finer feature map and the compared grid. Defaults to 8, the paper's
            "1/8", for features on the output's grid. SSSR features are usually on a quarter of it, and need 2. With
            q = 1, time is proportional to ``subsample ** -4``.
        sampling (str): 'pool' averages over cells; 'stride' takes every ``subsample``-th position; 'random' draws as
            many positions at each step, for an unbiased estimate of the loss without subsampling. Defaults to 'pool',
            which sees thin structures at every step without noise.
        center (bool): whether to subtract each branch's mean feature over an image, so that affinities are
            correlations. Post-ReLU features are non-negative, so their cosines cluster near 1 regardless of content.
            Not in the paper. Defaults to False.
        detach_guide (bool): whether the SISR features receive no gradient from this loss. The paper's formula detaches
            nothing. Defaults to False.
        loss_name (str): name in the log. Defaults to 'loss_fa'.

    Raises:
        ValueError: for an invalid q, subsample or sampling.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        q: int = 1,
        subsample: int = 8,
        sampling: str = 'pool',
        center: bool = False,
        detach_guide: bool = False,
        loss_name: str = 'loss_fa',
    ):
        super().__init__(loss_weight, subsample, sampling, detach_guide, loss_name, center)
        if q not in (1, 2):
            raise ValueError(f'FALoss: q must be 1 or 2, got {q!r}')
        self.q = q

    def compare(self, seg_feat: Tensor, sr_feat: Tensor, population: int) -> Tensor:
        """Compute Eq. 4, see :func:`~dsrl_mm.core.affinity_loss`."""
        sampled = population > seg_feat.shape[-2] * seg_feat.shape[-1]
        return affinity_loss(seg_feat, sr_feat, q=self.q, population=population if sampled else None)


@MODELS.register_module(force=True)
class StructureDistillationLoss(_StructureLoss):
    """Structure distillation loss of ISDNet (Guo et al., CVPR 2022): ``||F_seg' F_seg - F_sr' F_sr||``.

    The Frobenius norm over N, i.e. the root mean square over pairs, averaged over the batch. Unlike :class:`FALoss`
    with q = 2, it takes the root, does not normalize features, and detaches the guide. Its cost is O(N C^2), so it
    compares every position of the coarser feature map.

    Args:
        loss_weight (float): weight of the loss. Defaults to 1.0.
        per_channel (bool): the form of the authors' code (https://github.com/cedricgsh/ISDNet): every channel is
            divided by its L2 norm over positions, and the loss is the mean absolute difference over pairs, at a cost of
            O(N^2 C). Its entries are O(C / N), so the loss is far smaller. Defaults to False: the paper's form.
        loss_name (str): name in the log. Defaults to 'loss_structure'.
    """

    def __init__(self, loss_weight: float = 1.0, per_channel: bool = False, loss_name: str = 'loss_structure'):
        super().__init__(loss_weight, subsample=1, sampling='pool', detach_guide=True, loss_name=loss_name)
        self.per_channel = per_channel

    def compare(self, seg_feat: Tensor, sr_feat: Tensor, population: int) -> Tensor:
        """Compare F_i . F_j between the branches, over all pairs: the root mean square, or see ``per_channel``."""
        a, b = seg_feat.flatten(2), sr_feat.flatten(2)
        if self.per_channel:
            return mean_abs_difference(F.normalize(a, dim=2, eps=1e-6), F.normalize(b, dim=2, eps=1e-6))
        # At 0 a root has no gradient; rounding may also leave a sum of squares below 0.
        distance = gram_distance(a, b).clamp_min(torch.finfo(a.dtype).tiny).sqrt() / a.shape[2]
        return distance.mean().to(a.dtype)
