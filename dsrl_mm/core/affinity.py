"""Feature affinity (FA), Sec. 3.3 of the paper, without its N x N matrices.

Symbols: B batch, C channels, H' x W' the grid on which features are compared, N = H'W' its positions, a_i and b_i the
normalised SSSR and SISR features at position i (Ca and Cb numbers), S_ij^seg = a_i . a_j and S_ij^sr = b_i . b_j.

With x_i = [a_i; b_i] and y_i = [a_i; -b_i], S_ij^seg - S_ij^sr = x_i . y_j =: D_ij, one product of width Ca + Cb:

- q = 1: with R_i = sum_j sign(D_ij) x_j, sum |D| is sum_i y_i . R_i, and its gradient 2 R (negated on b's side).
  R is formed tile by tile in the forward pass; no tile outlives its turn, D's symmetry halves the products, and the
  backward pass is a scaling. Memory O(N C), time O(N^2 C).
- q = 2: sum D^2 = ||A'A||^2 - 2 ||A'B||^2 + ||B'B||^2 with C x C matrices. No pairs at all: time O(N C^2).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

__all__ = ['FALoss', 'affinity_loss', 'pool_to_common_grid']

#: Positions on a tile's side. 512 x 512 float32 is 1 MiB: with its features it stays in a core's cache.
TILE = 512


def _tiles(n: int) -> list[slice]:
    return [slice(start, min(start + TILE, n)) for start in range(0, n, TILE)]


def _sum_abs(x: Tensor, y: Tensor) -> Tensor:
    """Sum of |D| of one image, from x and y of shape (N, Ca + Cb)."""
    total = x.new_zeros(())
    for i, rows in enumerate(tiles := _tiles(len(x))):
        for j, columns in enumerate(tiles[i:]):
            total += (x[rows] @ y[columns].T).abs_().sum() * (1 if j == 0 else 2)
    return total


def _sign_product(x: Tensor, y: Tensor) -> Tensor:
    """R = sign(D) x of one image, (N, Ca + Cb), from x and y of that shape."""
    r, columns_of_y = torch.zeros_like(x), y.T.contiguous()
    buffer = x.new_empty(TILE * TILE)
    for i, rows in enumerate(tiles := _tiles(len(x))):
        for j, columns in enumerate(tiles[i:]):
            height, width = len(x[rows]), len(x[columns])
            sign = buffer[: height * width].view(height, width)
            torch.mm(x[rows], columns_of_y[:, columns], out=sign).sign_()
            r[rows].addmm_(sign, x[columns])
            if j > 0:
                r[columns].addmm_(sign.T, x[rows])
    return r


class _MeanAbsDifference(torch.autograd.Function):
    """mean |S^seg - S^sr| over batch and pairs, of a (B, N, Ca) and b (B, N, Cb)."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        x, y = torch.cat([a, b], 2), torch.cat([a, -b], 2)
        pairs = len(x) * x.shape[1] ** 2
        if not any(ctx.needs_input_grad):
            return sum(_sum_abs(*image) for image in zip(x, y)) / pairs
        r = torch.stack([_sign_product(*image) for image in zip(x, y)])
        loss = (y * r).sum() / pairs
        grad_a, grad_b = r.mul_(2 / pairs).split([a.shape[2], b.shape[2]], dim=2)
        ctx.save_for_backward(grad_a, grad_b)
        return loss

    @staticmethod
    def backward(ctx, grad: Tensor):
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError('affinity_loss with q=1 can be differentiated only once: its gradient has no graph')
        grad_a, grad_b = ctx.saved_tensors
        return (grad * grad_a if ctx.needs_input_grad[0] else None, -grad * grad_b if ctx.needs_input_grad[1] else None)


def _mean_abs_difference(a: Tensor, b: Tensor) -> Tensor:
    # A compiler would unroll the loop over tiles. Disabled on call, since that imports the compiler: as slow as torch.
    return torch.compiler.disable(_MeanAbsDifference.apply)(a, b)


def _mean_square_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean (S^seg - S^sr)^2 over batch and pairs, of a (B, N, Ca) and b (B, N, Cb).

    The terms nearly cancel, so the C x C products are summed in float64.
    """
    x = torch.cat([a, b], 2).double()
    gram = x.transpose(1, 2) @ x
    sign = torch.cat([a.new_ones(a.shape[2]), -b.new_ones(b.shape[2])]).double()
    return ((gram.square() @ sign @ sign).mean() / x.shape[1] ** 2).to(a.dtype)


def affinity_loss(seg_feat: Tensor, sr_feat: Tensor, p: float = 2, q: int = 1, eps: float = 1e-6) -> Tensor:
    """The mean over every pair of positions, and over the batch, of |S_ij^seg - S_ij^sr|^q (Eq. 4 of the paper).

    S_ij = (F_i / ||F_i||_p)^T (F_j / ||F_j||_p), Eq. 3.

    Args:
        seg_feat (Tensor): shape (B, C1, H', W'), float32 or float64, which is also computed in, autocast or not.
        sr_feat (Tensor): shape (B, C2, H', W'), of the same dtype.
        p (float): the norm. Defaults to 2: S holds cosines.
        q (int): 1, the paper's, or 2, the squared Frobenius norm over N^2. Defaults to 1.
        eps (float): the smallest norm divided by. A vector shorter than that (after a ReLU, often zero) is not blown
            up. Defaults to 1e-6.

    Returns:
        Tensor: a scalar. With q = 1 it can be differentiated only once.
    """
    with torch.autocast(seg_feat.device.type, enabled=False):
        a, b = (F.normalize(feat.flatten(2).transpose(1, 2), p=p, dim=2, eps=eps) for feat in (seg_feat, sr_feat))
        return _mean_abs_difference(a, b) if q == 1 else _mean_square_difference(a, b)


def pool_to_common_grid(seg_feat: Tensor, sr_feat: Tensor, subsample: int) -> tuple[Tensor, Tensor]:
    """Average-pool two feature maps of one scene to one grid.

    The grid is the finer map's, ``subsample`` times coarser (rounded up), and no finer than either map. Adaptive
    pooling drops no border, whatever the sizes.

    Args:
        seg_feat (Tensor): shape (B, C1, H1, W1).
        sr_feat (Tensor): shape (B, C2, H2, W2).
        subsample (int): 1 compares every position of the coarser map.

    Returns:
        tuple[Tensor, Tensor]: shapes (B, C1, H', W') and (B, C2, H', W').
    """
    sizes = (seg_feat.shape[-2:], sr_feat.shape[-2:])
    grid = tuple(min(-(-max(sides) // subsample), *sides) for sides in zip(*sizes))
    seg_feat, sr_feat = (
        feat if feat.shape[-2:] == grid else F.adaptive_avg_pool2d(feat, grid) for feat in (seg_feat, sr_feat)
    )
    return seg_feat, sr_feat


@MODELS.register_module()
class FALoss(nn.Module):
    """Feature affinity loss (Eq. 4 of the paper): the segmentation features' affinities follow the SISR features'.

    L_fa = 1 / N^2 * sum_ij ||S_ij^seg - S_ij^sr||_q, averaged over the batch.

    Args:
        loss_weight (float): w2. Defaults to 1.0, the paper's; its slides say 0.1.
        p (float): the norm the features are divided by. Defaults to 2.
        q (int): 1 or 2, the norm of the difference. Defaults to 1.
        subsample (int): how many times coarser, on each side, the compared grid is than the finer of the two feature
            maps. Defaults to 8, the paper's "1/8". For q = 1, time grows with N^2, so with ``subsample ** -4``.
        eps (float): the smallest norm a feature is divided by. Defaults to 1e-6.
        detach_guide (bool): whether the SISR features only guide, without a gradient from this loss. The paper does
            not say; its formula has none detached. Defaults to False.
        loss_name (str): the name in the log. Defaults to 'loss_fa'.

    Raises:
        ValueError: for a q, p or subsample it cannot use.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        p: float = 2,
        q: int = 1,
        subsample: int = 8,
        eps: float = 1e-6,
        detach_guide: bool = False,
        loss_name: str = 'loss_fa',
    ):
        super().__init__()
        if q not in (1, 2):
            raise ValueError(f'FALoss: q must be 1 or 2, got {q!r}')
        if not p >= 1:
            raise ValueError(f'FALoss: p must be at least 1 to be a norm, got {p!r}')
        if isinstance(subsample, bool) or not isinstance(subsample, int) or subsample < 1:
            raise ValueError(f'FALoss: subsample must be an integer of at least 1, got {subsample!r}')
        self.loss_weight, self.p, self.q, self.eps = loss_weight, p, q, eps
        self.subsample, self.detach_guide, self.loss_name = subsample, detach_guide, loss_name

    def forward(self, seg_feat: Tensor, sr_feat: Tensor) -> Tensor:
        """Compute the weighted loss.

        Args:
            seg_feat (Tensor): SSSR features, shape (B, C1, H1, W1), any float dtype. float16 and bfloat16 are computed
                in float32, also under autocast.
            sr_feat (Tensor): SISR features of the same images, shape (B, C2, H2, W2).

        Returns:
            Tensor: a scalar, ``loss_weight`` times the loss; float32, or float64 for float64 features.

        Raises:
            ValueError: if either is not 4-dimensional, or the batches differ.
        """
        if seg_feat.dim() != 4 or sr_feat.dim() != 4 or len(seg_feat) != len(sr_feat):
            raise ValueError(
                'FALoss compares two feature maps (B, C, H, W) of the same images, got shapes '
                f'{tuple(seg_feat.shape)} and {tuple(sr_feat.shape)}'
            )
        if self.detach_guide:
            sr_feat = sr_feat.detach()
        dtype = torch.promote_types(torch.promote_types(seg_feat.dtype, sr_feat.dtype), torch.float32)
        seg_feat, sr_feat = pool_to_common_grid(seg_feat.to(dtype), sr_feat.to(dtype), self.subsample)
        return self.loss_weight * affinity_loss(seg_feat, sr_feat, self.p, self.q, self.eps)
