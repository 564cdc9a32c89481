"""The two encoders of PGNet: a CNN on the image, a Swin Transformer on a small copy of it."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models.backbones import SwinTransformer
from mmseg.registry import MODELS
from torch import Tensor

from ...engine.config import builds

_STAGES = 3  # of the transformer: the authors' code leaves out Swin's fourth


@MODELS.register_module(force=True)
class PGBackbone(BaseModule):
    """Backbone of "Pyramid Grafting Network for One-Stage High Resolution Saliency Detection".

    https://arxiv.org/abs/2204.05041, checked against https://github.com/iCVTEAM/PGNet.

    The transformer sees the whole scene at a fixed, small size; the CNN keeps the detail of the image. Both are stock
    backbones, so MMSegmentation's weights fit.

    Args:
        cnn (dict): config of the backbone that reads the image, such as ``ResNet`` of depth 18. It returns four feature
            maps, r2 to r5, at strides 4 to 32.
        transformer (dict): config of MMSegmentation's ``SwinTransformer`` with three stages. Its ``out_indices`` are
            not used: the decoder reads other features than a Swin Transformer returns.
        transformer_size (int | Sequence[int]): height and width in pixels to which the transformer's image is resized.
            Defaults to 224.
        init_cfg (dict, optional): initialization. Defaults to None: that of the two configs.

    Raises:
        TypeError: if ``transformer`` is not a ``SwinTransformer``.
        ValueError: if it does not have three stages, or for an invalid ``transformer_size``.
    """

    def __init__(
        self, cnn: dict, transformer: dict, transformer_size: int | Sequence[int] = 224, init_cfg: dict | None = None
    ):
        super().__init__(init_cfg)
        if not builds(transformer, MODELS, SwinTransformer):
            raise TypeError(
                f"PGBackbone: transformer.type is {transformer.get('type')!r}. Set it to 'SwinTransformer': the "
                'decoder reads its patch embedding and what its stages merge.'
            )
        self.cnn = MODELS.build(cnn)
        self.transformer = MODELS.build(dict(transformer, out_indices=()))
        if len(self.transformer.stages) != _STAGES:
            raise ValueError(
                f'PGBackbone: the transformer has {len(self.transformer.stages)} stages, and the decoder reads '
                f'{_STAGES}. Leave the last stage out of transformer.depths and num_heads, as in depths=(2, 2, 18), '
                'num_heads=(4, 8, 16) for Swin-B.'
            )
        sides = [transformer_size] * 2 if isinstance(transformer_size, int) else list(transformer_size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(
                f'PGBackbone: transformer_size is a number of pixels, or (height, width), but got {transformer_size!r}'
            )
        self.transformer_size = tuple(sides)

    def _transformer_features(self, image: Tensor) -> list[Tensor]:
        """Return s1, the patch embedding, and what each stage hands to the next: s2 to s4."""
        swin = self.transformer
        tokens, size = swin.patch_embed(image)
        if swin.use_abs_pos_embed:
            tokens = tokens + swin.absolute_pos_embed
        taps = [(tokens, size)]
        tokens = swin.drop_after_pos(tokens)
        for stage in swin.stages:
            tokens, size, *_ = stage(tokens, size)  # after the stage's patch merging
            taps.append((tokens, size))
        return [tokens.transpose(1, 2).unflatten(2, tuple(size)) for tokens, size in taps]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of both encoders.

        Args:
            x (Tensor): normalized image, (B, 3, H, W), of any size.

        Returns:
            tuple[Tensor, ...]: r2 to r5 of the CNN at strides 4, 8, 16 and 32 of the image, and s1 to s4 of the
            transformer at strides 4, 8, 16 and 16 of its own, reduced image; with Swin-B, 128, 256, 512 and 512
            channels. None of s1 to s4 is normalized.

        Raises:
            ValueError: if the CNN does not return four feature maps.
        """
        small = F.interpolate(x, self.transformer_size, mode='bilinear', align_corners=True)
        fine = self.cnn(x)
        if len(fine) != 4:
            raise ValueError(
                f'PGBackbone: the CNN returns {len(fine)} feature maps, and the decoder reads four. Set '
                'cnn.out_indices=(0, 1, 2, 3).'
            )
        return *fine, *self._transformer_features(small)
