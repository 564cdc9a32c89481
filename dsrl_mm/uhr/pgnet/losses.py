"""Losses of PGNet, and BASNet's structural similarity.

Symbols: m is a mask in [0, 1], p a prediction's sigmoid, both (B, 1, H, W); v weighs pixels, 0 where unlabeled.
"""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...core.resample import check_weight
from .masks import labeled


def _mean(x: Tensor, valid: Tensor) -> Tensor:
    return (x * valid).sum() / valid.sum().clamp_min(torch.finfo(x.dtype).tiny)


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction='none')


def iou_loss(prob: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Compute ``1 - (sum p m + 1) / (sum p + sum m - sum p m + 1)`` of each image, averaged over the batch.

    Args:
        prob (Tensor): p, (B, 1, H, W).
        mask (Tensor): m, (B, 1, H, W), in [0, 1].
        valid (Tensor): v, (B, 1, H, W).
    """
    both = (prob * mask * valid).sum((1, 2, 3))
    either = ((prob + mask) * valid).sum((1, 2, 3)) - both
    return (1 - (both + 1) / (either + 1)).mean()


def ssim_loss(prob: Tensor, mask: Tensor, valid: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Compute 1 - SSIM of p and m, averaged over pixels (BASNet, Qin et al., CVPR 2019, Eq. 5).

    Args:
        prob (Tensor): p, (B, 1, H, W).
        mask (Tensor): m, (B, 1, H, W), in [0, 1].
        valid (Tensor): v, (B, 1, H, W).
        window (int): side of the Gaussian window in pixels, odd. Defaults to 11.
        sigma (float): standard deviation of the window in pixels. Defaults to 1.5.
    """
    offsets = torch.arange(window, dtype=prob.dtype, device=prob.device) - window // 2
    kernel = (-(offsets**2) / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(x, kernel.view(1, 1, -1, 1), padding=(window // 2, 0))
        return F.conv2d(x, kernel.view(1, 1, 1, -1), padding=(0, window // 2))

    mean_p, mean_m = blur(prob), blur(mask)
    var_p, var_m = blur(prob**2) - mean_p**2, blur(mask**2) - mean_m**2
    covariance = blur(prob * mask) - mean_p * mean_m
    c1, c2 = 0.01**2, 0.03**2  # for values in [0, 1]
    similarity = (2 * mean_p * mean_m + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_p**2 + mean_m**2 + c1) * (var_p + var_m + c2))
    return _mean(1 - similarity, valid)


def _pairs(x: Tensor) -> Tensor:
    """Multiply all pairs of positions of (B, 1, h, w), to (B, 1, N, N)."""
    x = x.flatten(2)
    return x.transpose(1, 2).unsqueeze(1) * x.unsqueeze(2)


def attention_guided_loss(
    cam_logits: Tensor, mask: Tensor, cnn_logits: Tensor, transformer_logits: Tensor, valid: Tensor
) -> Tensor:
    """Compute the Attention Guided Loss: weighted cross-entropy between an attention map and G = m m'.

    Pairs of positions count more where either encoder is wrong by itself: their weight is
    ``1 + (|G - o_r| + |G - o_s|) / 2``, where o_r and o_s are made of the encoders' predictions as G is of the mask.

    Args:
        cam_logits (Tensor): (B, 1, N, N), N = h w.
        mask (Tensor): m on the attention's grid, (B, 1, h, w).
        cnn_logits (Tensor): a prediction from the CNN's features alone, (B, 1, h, w). Receives no gradient.
        transformer_logits (Tensor): a prediction from the transformer's. Receives no gradient.
        valid (Tensor): v, (B, 1, h, w).
    """
    target = _pairs(mask)
    errors = [(target - _pairs(logits.detach().sigmoid())).abs() for logits in (cnn_logits, transformer_logits)]
    weight = 1 + sum(errors) / 2
    return _mean(weight * _bce(cam_logits, target), _pairs(valid))


@MODELS.register_module(force=True)
class BCEIoULoss(nn.Module):
    """Binary cross-entropy plus IoU loss, and optionally BASNet's SSIM term.

    Fits stock heads with ``out_channels=1``, which call it with class ids, too.

    Args:
        loss_weight (float): weight of the sum. Defaults to 1.0.
        ssim_weight (float): weight of :func:`ssim_loss` in the sum. Defaults to 0: the term is not computed, as in
            PGNet; BASNet has 1.
        loss_name (str): name in the log. Defaults to 'loss_bce_iou'.

    Raises:
        ValueError: for a weight that is negative or no number.
    """

    def __init__(self, loss_weight: float = 1.0, ssim_weight: float = 0.0, loss_name: str = 'loss_bce_iou'):
        super().__init__()
        self.loss_weight = check_weight(type(self).__name__, loss_weight)
        self.ssim_weight = check_weight(f'{type(self).__name__} (ssim_weight)', ssim_weight)
        self.loss_name = loss_name

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int | None = 255, **_
    ) -> Tensor:
        """Compute the weighted loss in float32.

        Args:
            logits (Tensor): (B, 1, H, W).
            target (Tensor): m, float (B, 1, H, W); or class ids, integer (B, H, W), of which 1 is the object.
            weight (Tensor, optional): v, (B, 1, H, W) or (B, H, W). Defaults to None: 1.
            ignore_index (int, optional): class id of unlabeled pixels. Defaults to 255.

        Raises:
            ValueError: if the logits do not have one channel, or another size than the target.
        """
        soft = target.is_floating_point()
        if logits.shape[1] != 1 or logits.shape[-2:] != target.shape[-2:]:
            raise ValueError(
                f'BCEIoULoss compares logits of one channel with a mask of their size, got shapes '
                f"{tuple(logits.shape)} and {tuple(target.shape)}. Set the head's out_channels=1."
            )
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            mask = target.float() if soft else (target == 1).float().unsqueeze(1)
            valid = torch.ones_like(logits) if weight is None else weight.float().view_as(logits)
            if not soft:
                valid = valid * labeled(target, ignore_index).unsqueeze(1)
            prob = logits.sigmoid()
            loss = _mean(_bce(logits, mask), valid) + iou_loss(prob, mask, valid)
            if self.ssim_weight:
                loss = loss + self.ssim_weight * ssim_loss(prob, mask, valid)
            return self.loss_weight * loss


@MODELS.register_module(force=True)
class AttentionGuidedLoss(nn.Module):
    """Attention Guided Loss (AGL) of PGNet, see :func:`attention_guided_loss`.

    Args:
        loss_weight (float): weight of the loss. Defaults to 1.0.
        loss_name (str): name in the log. Defaults to 'loss_attention'.

    Raises:
        ValueError: for a weight that is negative or no number.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_attention'):
        super().__init__()
        self.loss_weight, self.loss_name = check_weight(type(self).__name__, loss_weight), loss_name

    def forward(
        self, cam_logits: Tensor, mask: Tensor, cnn_logits: Tensor, transformer_logits: Tensor, valid: Tensor
    ) -> Tensor:
        """Compute the weighted loss in float32; arguments as of :func:`attention_guided_loss`."""
        tensors = [x.float() for x in (cam_logits, mask, cnn_logits, transformer_logits, valid)]
        with torch.autocast(cam_logits.device.type, enabled=False):
            return self.loss_weight * attention_guided_loss(*tensors)
