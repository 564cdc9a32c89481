"""Feature affinity (FA), Sec. 3.3 of the paper, without N x N matrices.

Symbols: B batch, C channels, H' x W' the grid on which features are compared, N = H'W' its positions, a_i and b_i the
normalized SSSR and SISR features at position i (Ca and Cb numbers), S_ij^seg = a_i . a_j and S_ij^sr = b_i . b_j.

With x_i = [a_i; b_i] and y_i = [a_i; -b_i], S_ij^seg - S_ij^sr = y_i . x_j =: D_ij, one product of width Ca + Cb:

- q = 1: sum |D| has the gradient 2 R, with R_i = sum_j sign(D_ij) x_j (negated on b's side). Both are computed tile by
  tile in the forward pass. Tiles are not stored, D's symmetry halves the products, and the backward pass only scales.
  Memory O(N C), time O(N^2 C).
- q = 2: sum D^2 = ||A'A||^2 - 2 ||A'B||^2 + ||B'B||^2 with C x C matrices. No pairs at all: time O(N C^2).
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def tile_side(device: torch.device) -> int:
    """Return the number of positions on a tile's side.

    On a CPU, a float32 tile fits a core's second-level cache, so only the matrix products access memory. On an
    accelerator, memory is fast and kernel launches are expensive, so tiles have 64 MiB.
    """
    return _cpu_tile_side() if device.type == 'cpu' else 4096


@cache
def _cpu_tile_side() -> int:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    cache_bytes = capabilities.get('l2_cache_size') or 2**20
    side = max(256, int((cache_bytes / 4) ** 0.5) // 64 * 64)
    # With a power of two, a tile's columns map to few cache sets, which slows down its transposed product.
    return side - 64 if side & (side - 1) == 0 else side


def _even_side(n: int, device: torch.device) -> int:
    """Return the side of equal tiles that cover ``n`` positions. A narrow last tile would be inefficient."""
    tiles = -(-n // tile_side(device))
    return -(-n // tiles)


def _has_onednn(x: Tensor) -> bool:
    mkldnn = torch.backends.mkldnn
    usable = x.device.type == 'cpu' and x.dtype == torch.float32 and mkldnn.is_available() and mkldnn.enabled
    return usable and hasattr(torch.ops.mkldnn, '_linear_pointwise')


def matrix_product(x: Tensor, y: Tensor) -> Tensor:
    """Multiply x (M, K) and the transpose of y (N, K), outside of autograd; the result is (M, N).

    Uses oneDNN for float32 on a CPU, if available. ``torch.mm`` calls MKL, which reaches half the speed on processors
    that are not Intel's. The operator is the one that PyTorch's compiler emits.
    """
    if _has_onednn(x):
        return torch.ops.mkldnn._linear_pointwise(x, y, None, 'none', [], '')
    return x @ y.T


def _tiled_sums(a: Tensor, b: Tensor, learning: slice) -> tuple[Tensor, Tensor]:
    """Compute sum |D| and the rows ``learning`` of R' = (sign(D) x)' of one image, from a' (Ca, N) and b' (Cb, N)."""
    side = _even_side(a.shape[1], a.device)
    columns = [torch.cat(tile) for tile in zip(a.split(side, dim=1), b.split(side, dim=1), strict=True)]
    rows = [tile.T.contiguous() for tile in columns]
    z = [tile[learning] for tile in columns]
    signature = torch.cat([a.new_ones(len(a)), -b.new_ones(len(b))])
    r = a.new_zeros(len(z[0]), a.shape[1])
    r_tiles, sums = r.split(side, dim=1), []
    for i in range(len(rows)):
        y = rows[i] * signature
        for j in range(i, len(rows)):
            d = matrix_product(y, rows[j])
            sums += [d.abs().sum()] * (1 if i == j else 2)
            if len(r) == 0:
                continue
            # Both products read and write along rows.
            sign = d.sign_()
            r_tiles[i].add_(matrix_product(z[j], sign))
            if i != j:
                r_tiles[j].add_(matrix_product(z[i], sign.T))
    return torch.stack(sums).sum(), r


class _MeanAbsDifference(torch.autograd.Function):
    """Mean of |S^seg - S^sr| over batch and pairs, for a (B, Ca, N) and b (B, Cb, N)."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        pairs = len(a) * a.shape[2] ** 2
        # Only the sides that need a gradient: a detached guide saves a third of the work, no gradient two thirds.
        of_a, of_b = (feat.shape[1] if learns else 0 for feat, learns in zip((a, b), ctx.needs_input_grad))
        start = 0 if of_a else a.shape[1]
        totals, r = zip(*(_tiled_sums(*image, slice(start, start + of_a + of_b)) for image in zip(a, b, strict=True)))
        gradients = torch.stack(r).mul_(2 / pairs).split([of_a, of_b], dim=1)
        ctx.save_for_backward(*(grad if grad.shape[1] else None for grad in gradients))
        return sum(totals) / pairs

    @staticmethod
    def backward(ctx, grad: Tensor):
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError('affinity_loss with q=1 can be differentiated only once: its gradient has no graph')
        grad_a, grad_b = ctx.saved_tensors
        return (None if grad_a is None else grad * grad_a, None if grad_b is None else -grad * grad_b)


def mean_abs_difference(a: Tensor, b: Tensor) -> Tensor:
    """Compute the mean over batch and pairs of |a_i . a_j - b_i . b_j|, for a (B, Ca, N) and b (B, Cb, N).

    It can be differentiated only once.
    """
    # A compiler would unroll the loop over tiles. Disabled here, because a decorator would load the compiler on import.
    return torch.compiler.disable(_MeanAbsDifference.apply)(a, b)


def gram_distance(a: Tensor, b: Tensor) -> Tensor:
    """Compute the sum over pairs of (a_i . a_j - b_i . b_j)^2 without forming pairs.

    It is the squared Frobenius norm of A'A - B'B.

    Args:
        a (Tensor): shape (B, Ca, N).
        b (Tensor): shape (B, Cb, N).

    Returns:
        Tensor: shape (B,), float64, because the C x C products nearly cancel.
    """
    x = torch.cat([a, b], 1).double()
    gram = x @ x.transpose(1, 2)
    sign = torch.cat([a.new_ones(a.shape[1]), -b.new_ones(b.shape[1])]).double()
    return gram.square() @ sign @ sign


def _diagonal(a: Tensor, b: Tensor, q: int) -> Tensor:
    """Compute the mean of |D_ii|^q over batch and positions."""
    return (a.square().sum(1) - b.square().sum(1)).abs().pow(q).mean()


def affinity_loss(
    seg_feat: Tensor, sr_feat: Tensor, q: int = 1, eps: float = 1e-6, population: int | None = None
) -> Tensor:
    """Compute the mean of ``|S_ij^seg - S_ij^sr|^q`` over batch and pairs of positions (Eq. 4 of the paper).

    ``S_ij = (F_i / ||F_i||_2)^T (F_j / ||F_j||_2)`` (Eq. 3 with p = 2, as in the paper: cosines).

    Args:
        seg_feat (Tensor): shape (B, C1, H', W'), float32 or float64. Computed in this dtype, also under autocast.
        sr_feat (Tensor): shape (B, C2, H', W'), of the same dtype.
        q (int): 1, as in the paper, or 2, the squared Frobenius norm over N^2. Defaults to 1.
        eps (float): lower bound on the norms, for vectors that are zero after a ReLU. Defaults to 1e-6.
        population (int, optional): number of positions of which these N >= 2 are a random sample. The result is then
            an unbiased estimate for the population, with fewer pairs of a position with itself than in the sample.
            Defaults to None: the positions are all.

    Returns:
        Tensor: a scalar. With q = 1, it can be differentiated only once.

    Raises:
        ValueError: if the features differ in B, H' or W'.
    """
    if len(seg_feat) != len(sr_feat) or seg_feat.shape[2:] != sr_feat.shape[2:]:
        raise ValueError(
            f'affinity_loss compares features at the same positions of the same images, but their shapes are '
            f'{tuple(seg_feat.shape)} and {tuple(sr_feat.shape)}'
        )
    with torch.autocast(seg_feat.device.type, enabled=False):
        a, b = (F.normalize(feat.flatten(2), dim=1, eps=eps) for feat in (seg_feat, sr_feat))
        n = a.shape[2]
        mean = mean_abs_difference(a, b) if q == 1 else (gram_distance(a, b).mean() / n**2).to(a.dtype)
        if population is None:
            return mean
        diagonal = _diagonal(a, b, q)
        of_others = (n * mean - diagonal) / (n - 1)
        return ((population - 1) * of_others + diagonal) / population
