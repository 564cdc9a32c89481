"""ESPNetv2 backbone (Mehta et al., CVPR 2019, https://arxiv.org/abs/1811.11431).

Details that the paper leaves open follow the authors' code, https://github.com/sacmehta/EdgeNets.
"""

import re
from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from .norm_act import fit_act, fit_norm

#: Widths of the paper. At other widths, the groups of some EESP units do not divide their channels.
WIDEN_FACTORS = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0)
#: Levels 2 to 5: dilations of the strided unit, number of EESP units after it, their dilations. Coarser grids have a
#: smaller largest kernel; branches that would exceed it are not dilated.
_LEVELS = (
    ((1, 2, 3, 4), 0, ()),
    ((1, 2, 3, 4), 3, (1, 2, 3, 4)),
    ((1, 2, 3, 4), 7, (1, 1, 2, 3)),
    ((1, 1, 2, 3), 3, (1, 1, 1, 2)),
)
#: Parameter names of the authors -> ours.
_OFFICIAL_NAMES = (
    (r'^level1\.', 'stem.'),
    (r'^level(\d)_0\.', lambda match: f'levels.{int(match[1]) - 2}.down.'),
    (r'^level(\d)\.(\d)\.(?=module_act)', lambda match: f'levels.{int(match[1]) - 2}.units.{match[2]}.'),
    (r'^level(\d)\.(\d)\.', lambda match: f'levels.{int(match[1]) - 2}.units.{match[2]}.eesp.'),
    (r'units\.(\d)\.module_act', r'units.\1.act'),
    (r'inp_reinf', 'reinforce'),
    (r'proj_1x1', 'reduce'),
    (r'spp_dw\.(\d)\.conv', r'branches.\1'),
    (r'br_after_cat\.bn', 'norm_act.0'),
    (r'br_after_cat\.act', 'norm_act.1'),
    (r'conv_1x1_exp', 'expand'),
    (r'(stem|reduce|reinforce\.0)\.act', r'\1.activate'),
)


def norm_act(channels: int, norm_cfg: dict, act_cfg: dict) -> nn.Sequential:
    """Build a normalization and an activation for (B, ``channels``, H, W)."""
    norm = build_norm_layer(fit_norm(norm_cfg, channels), channels)[1]
    return nn.Sequential(norm, build_activation_layer(fit_act(act_cfg, channels)))


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict, act_cfg: dict | None, **kwargs
) -> ConvModule:
    """Build a convolution with padding, a normalization and an optional activation, see :mod:`.norm_act`.

    ``kernel_size`` is odd; ``kwargs`` are ``stride`` and ``groups`` of the convolution.
    """
    return ConvModule(
        in_channels,
        out_channels,
        kernel_size,
        padding=kernel_size // 2,
        norm_cfg=fit_norm(norm_cfg, out_channels),
        act_cfg=act_cfg and fit_act(act_cfg, out_channels),
        **kwargs,
    )


class EESP(BaseModule):
    """Extremely efficient spatial pyramid of depth-wise dilated separable convolutions (the paper's Fig. 1c).

    A group point-wise convolution reduces the features to C_out / K channels. K depth-wise 3x3 convolutions with
    different dilations follow. Hierarchical feature fusion (HFF) adds the sum of the less dilated branches to each,
    which removes gridding artifacts. A group point-wise convolution mixes the channels within each of the K sums. The
    units add the shortcut and the last activation.

    Args:
        in_channels (int): input channels, a multiple of K.
        out_channels (int): output channels, C_out, a multiple of K^2.
        dilations (Sequence[int]): dilations of the K branches, ascending.
        norm_cfg (dict): normalization of every layer.
        act_cfg (dict): activation of every layer but the last.
        stride (int): stride of the branches. Defaults to 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int],
        norm_cfg: dict,
        act_cfg: dict,
        stride: int = 1,
    ):
        super().__init__()
        k = len(dilations)
        width = out_channels // k
        self.reduce = conv_norm_act(in_channels, width, 1, norm_cfg, act_cfg, groups=k)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride, padding=d, dilation=d, groups=width, bias=False) for d in dilations
        )
        self.norm_act = norm_act(out_channels, norm_cfg, act_cfg)
        self.expand = conv_norm_act(out_channels, out_channels, 1, norm_cfg, None, groups=k)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C_in, H, W) to (B, C_out, H', W'), H' = ceil(H / stride)."""
        x = self.reduce(x)
        sums = accumulate(branch(x) for branch in self.branches)
        return self.expand(self.norm_act(torch.cat(list(sums), dim=1)))


class EESPUnit(BaseModule):
    """:class:`EESP` with a shortcut; keeps channels and grid."""

    def __init__(self, channels: int, dilations: Sequence[int], norm_cfg: dict, act_cfg: dict):
        super().__init__()
        self.eesp = EESP(channels, channels, dilations, norm_cfg, act_cfg)
        self.act = build_activation_layer(fit_act(act_cfg, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.eesp(x))


def _halve(x: Tensor) -> Tensor:
    """Average-pool to ceil(H / 2) x ceil(W / 2), the grid of a strided 3x3 convolution."""
    return F.avg_pool2d(x, 3, stride=2, padding=1)


class StridedEESPUnit(BaseModule):
    """Downsampling unit (the paper's Fig. 2): pooled features, concatenated with a strided EESP, plus image features.

    Args:
        in_channels (int): input channels, C_in.
        out_channels (int): output channels, C_out; EESP computes C_out - C_in of them.
        dilations (Sequence[int]): dilations of EESP's branches.
        image_channels (int): channels of the image, whose features are added (input reinforcement); 0 for none.
        norm_cfg (dict): normalization of every layer.
        act_cfg (dict): activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int],
        image_channels: int,
        norm_cfg: dict,
        act_cfg: dict,
    ):
        super().__init__()
        self.eesp = EESP(in_channels, out_channels - in_channels, dilations, norm_cfg, act_cfg, stride=2)
        self.reinforce = None
        if image_channels:
            self.reinforce = nn.Sequential(
                conv_norm_act(image_channels, 3, 3, norm_cfg, act_cfg),
                conv_norm_act(3, out_channels, 1, norm_cfg, None),
            )
        self.act = build_activation_layer(fit_act(act_cfg, out_channels))

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Transform features (B, C_in, H, W) and the halved image (B, 3, H', W') to (B, C_out, H', W')."""
        x = torch.cat([_halve(x), self.eesp(x)], dim=1)
        if self.reinforce is not None:
            x = x + self.reinforce(image)
        return self.act(x)


class _Level(BaseModule):
    """Strided unit, followed by EESP units."""

    def __init__(self, down: StridedEESPUnit, units: Sequence[EESPUnit]):
        super().__init__()
        self.down = down
        self.units = nn.Sequential(*units)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        return self.units(self.down(x, image))


@MODELS.register_module(force=True)
class ESPNetv2(BaseModule):
    """ESPNetv2 backbone: a strided convolution and up to four levels of EESP units.

    Level ``i`` (from 0) has stride 2^(i+1) and b 2^i channels, with b = 32 ``widen_factor``; level 0 has at most 32.
    At width 2.0, that of the paper's segmentation networks: 32, 128, 256, 512 and 1024. Images can have any size; each
    level halves the sides and rounds up.

    ``init_cfg=dict(type='Pretrained', ...)`` accepts the authors' ImageNet weights: their keys are renamed while
    loading, and layers that this backbone does not have are skipped.

    Multiply-adds equal those of the authors' code, which has more parameters that it does not use: slopes of an
    activation in the EESP of every strided unit, and an input reinforcement of level 4. With the classifier, they are
    0.2 % of the 3.49 M parameters at width 2.0.

    Args:
        widen_factor (float): one of 0.5, 1.0, 1.25, 1.5, 1.75 and 2.0. Defaults to 1.0.
        in_channels (int): channels of the image. Defaults to 3.
        out_indices (Sequence[int]): levels to return, 0 to 4. Levels after the last of these are not built. Defaults to
            (0, 1, 2, 3), strides 2 to 16, as for segmentation.
        norm_cfg (dict): normalization. For group norm, the groups are reduced to a divisor of the channels. Defaults to
            batch norm.
        act_cfg (dict): activation. PReLU has one slope per channel unless ``num_parameters`` is set. Defaults to PReLU.
        init_cfg (dict | list[dict], optional): initialization. Defaults to None: Kaiming, as in the authors' code.

    Raises:
        ValueError: for another width or level.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='PReLU'),
        init_cfg: dict | list[dict] | None = None,
    ):
        if widen_factor not in WIDEN_FACTORS:
            raise ValueError(
                f'ESPNetv2: widen_factor must be one of {WIDEN_FACTORS}, got {widen_factor}. Between 0.5 and 2.0, only '
                'at these do the groups of all EESP units divide their channels.'
            )
        if not out_indices or not set(out_indices) <= set(range(5)):
            raise ValueError(f'ESPNetv2: out_indices must be some of 0 to 4, got {tuple(out_indices)}')
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        self.out_indices = tuple(out_indices)
        base = int(32 * widen_factor)
        channels = [min(base, 32), *(base * 2**level for level in range(1, 5))]
        self.stem = conv_norm_act(in_channels, channels[0], 3, norm_cfg, act_cfg, stride=2)
        self.levels = nn.ModuleList()
        for level, (strided, depth, dilations) in enumerate(_LEVELS[: max(out_indices)], 1):
            # As in the authors' forward pass, level 4 does without the image, which is 1/32 of its sides by then.
            image_channels = in_channels if level < 4 else 0
            down = StridedEESPUnit(channels[level - 1], channels[level], strided, image_channels, norm_cfg, act_cfg)
            units = [EESPUnit(channels[level], dilations, norm_cfg, act_cfg) for _ in range(depth)]
            self.levels.append(_Level(down, units))
        self._register_load_state_dict_pre_hook(self._adopt_official_checkpoint)

    def _adopt_official_checkpoint(self, state_dict: dict, prefix: str, *_) -> None:
        """Rename the authors' keys, and drop those of layers that this backbone does not have."""
        if f'{prefix}level1.conv.weight' not in state_dict:
            return
        own = self.state_dict().keys()
        taken = dropped = 0
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key[len(prefix) :]
            for pattern, replacement in _OFFICIAL_NAMES:
                name = re.sub(pattern, replacement, name)
            tensor = state_dict.pop(key)
            if name in own:
                state_dict[prefix + name] = tensor
                taken += 1
            else:
                dropped += 1
        print_log(
            f"ESPNetv2: the checkpoint is the authors'; {taken} tensors are renamed, {dropped} are of layers that this "
            'backbone does not have.',
            logger='current',
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute features (B, C_i, ceil(H / 2^(i+1)), ceil(W / 2^(i+1))) of ``out_indices`` from an image."""
        outs = [self.stem(image)]
        image = _halve(image)
        for level in self.levels:
            image = _halve(image)
            outs.append(level(outs[-1], image))
        return tuple(outs[index] for index in self.out_indices)
