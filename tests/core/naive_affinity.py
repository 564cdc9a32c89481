"""The paper's formulas as they are written, with every pair in memory: what the fast ones are held against."""

import torch


def naive_affinities(feat, eps=1e-6):
    """Eq. 3 with p = 2: S, (B, N, N), with every pair in memory."""
    positions = feat.flatten(2)
    norm = positions.square().sum(1, keepdim=True).sqrt()
    positions = positions / norm.clamp_min(eps)
    return torch.einsum('bci,bcj->bij', positions, positions)


def naive_affinity_loss(seg_feat, sr_feat, q=1, eps=1e-6):
    """Eq. 4, averaged over the batch."""
    difference = naive_affinities(seg_feat, eps) - naive_affinities(sr_feat, eps)
    return difference.abs().pow(q).mean()


def features(*shape, seed=0, dtype=torch.float32, grad=True):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(grad)


def positions(*vectors):
    """Features (1, C, 1, N) from one C-vector for each of N positions."""
    return torch.tensor(vectors).T[None, :, None]


def loss_and_gradients(function, *feats):
    loss = function(*feats)
    return loss.detach(), *torch.autograd.grad(loss, feats)


def naive_structure_distance(seg_feat, sr_feat):
    """ISDNet's ||F_seg' F_seg - F_sr' F_sr||, over N, averaged over the batch."""
    products = [torch.einsum('bci,bcj->bij', feat.flatten(2), feat.flatten(2)) for feat in (seg_feat, sr_feat)]
    difference = products[0] - products[1]
    return (torch.linalg.matrix_norm(difference) / difference.shape[1]).mean()
