"""ESPNetv2's backbone: Mehta et al., CVPR 2019, https://arxiv.org/abs/1811.11431.

Where the paper leaves a choice open, it is made as in the authors' code, https://github.com/sacmehta/EdgeNets.
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

__all__ = ['EESP', 'EESPUnit', 'ESPNetv2', 'StridedEESPUnit', 'conv_norm_act', 'norm_act']

#: The paper's: those from 0.5 to 2.0 at which the groups of all EESP units divide their channels.
WIDEN_FACTORS = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0)
#: Of levels 2 to 5: dilations of the strided unit, number of EESP units after it, their dilations. The coarser the
#: grid, the smaller the largest kernel; a branch that would exceed it is undilated instead.
_LEVELS = (
    ((1, 2, 3, 4), 0, ()),
    ((1, 2, 3, 4), 3, (1, 2, 3, 4)),
    ((1, 2, 3, 4), 7, (1, 1, 2, 3)),
    ((1, 1, 2, 3), 3, (1, 1, 1, 2)),
)
#: The authors' names of parameters, and ours.
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
    """A normalisation and an activation of (B, ``channels``, H, W)."""
    norm = build_norm_layer(fit_norm(norm_cfg, channels), channels)[1]
    return nn.Sequential(norm, build_activation_layer(fit_act(act_cfg, channels)))


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict, act_cfg: dict | None, **kwargs
) -> ConvModule:
    """A convolution of odd kernel that keeps the grid (at stride 1), a normalisation and, with a config, an activation.

    Args:
        in_channels (int): of the input.
        out_channels (int): of the output.
        kernel_size (int): odd.
        norm_cfg (dict): of the normalisation; group norm gets as many of its groups as divide the channels.
        act_cfg (dict, optional): of the activation; PReLU gets a slope per channel, unless ``num_parameters`` is set.
        **kwargs: of the convolution: ``stride``, ``groups``.
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

    A group point-wise convolution reduces the features to C_out / K channels; K depth-wise 3x3 convolutions, each of
    its own dilation, see different surroundings of them; hierarchical feature fusion (HFF) adds every branch to the
    sum of the less dilated ones, which takes away the gridding of the dilated ones alone; a group point-wise
    convolution mixes the channels within each of the K sums. Neither shortcut nor last activation: the units add them.

    Args:
        in_channels (int): a multiple of K.
        out_channels (int): C_out, a multiple of K^2.
        dilations (Sequence[int]): of the K branches, ascending.
        norm_cfg (dict): normalisation of every layer.
        act_cfg (dict): activation of every layer but the last.
        stride (int): of the branches. Defaults to 1.
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
        """From (B, C_in, H, W) to (B, C_out, H', W'), H' = ceil(H / stride)."""
        x = self.reduce(x)
        sums = accumulate(branch(x) for branch in self.branches)
        return self.expand(self.norm_act(torch.cat(list(sums), dim=1)))


class EESPUnit(BaseModule):
    """An :class:`EESP` that keeps channels and grid, with a shortcut: (B, C, H, W) to the same."""

    def __init__(self, channels: int, dilations: Sequence[int], norm_cfg: dict, act_cfg: dict):
        super().__init__()
        self.eesp = EESP(channels, channels, dilations, norm_cfg, act_cfg)
        self.act = build_activation_layer(fit_act(act_cfg, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.eesp(x))


def _halve(x: Tensor) -> Tensor:
    """Average pooling to ceil(H / 2) x ceil(W / 2), the grid of a strided 3x3 convolution."""
    return F.avg_pool2d(x, 3, stride=2, padding=1)


class StridedEESPUnit(BaseModule):
    """Halves the grid (the paper's Fig. 2): pooled features beside strided EESP's, plus a shortcut from the image.

    Args:
        in_channels (int): C_in.
        out_channels (int): C_out, of which EESP makes C_out - C_in.
        dilations (Sequence[int]): of EESP's branches.
        image_channels (int): of the image, whose features are added (input reinforcement); 0 for none.
        norm_cfg (dict): normalisation of every layer.
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
        """Features (B, C_in, H, W) and the image on the halved grid, (B, 3, H', W'), to (B, C_out, H', W')."""
        x = torch.cat([_halve(x), self.eesp(x)], dim=1)
        if self.reinforce is not None:
            x = x + self.reinforce(image)
        return self.act(x)


class _Level(BaseModule):
    """A strided unit and the EESP units after it."""

    def __init__(self, down: StridedEESPUnit, units: Sequence[EESPUnit]):
        super().__init__()
        self.down = down
        self.units = nn.Sequential(*units)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        return self.units(self.down(x, image))


@MODELS.register_module()
class ESPNetv2(BaseModule):
    """ESPNetv2 without its classifier: a strided convolution and up to four levels of EESP units.

    Level ``i`` (from 0) has stride 2^(i+1) and, with b = 32 ``widen_factor``, b 2^i channels; level 0 at most 32. At
    the width of the paper's segmentation networks, 2.0: 32, 128, 256, 512 and 1024. Images of every size are taken:
    each level's sides are half the previous one's, rounded up.

    ``init_cfg=dict(type='Pretrained', ...)`` takes ImageNet weights as the authors published them: their keys are
    renamed while loading, and what this backbone has no use for is left out.

    Multiply-adds are exactly those of the authors' code. Its modules hold more parameters, which never run: slopes of
    an activation in every strided unit's EESP (C_out - C_in), and an input reinforcement of level 4 (90 and five per
    channel). With the classifier, all these are 0.2% of the 3.49 M of width 2.0.

    Args:
        widen_factor (float): one of :data:`WIDEN_FACTORS`. Defaults to 1.0.
        in_channels (int): of the image. Defaults to 3.
        out_indices (Sequence[int]): levels to return, of 0 to 4. Levels after the last of these are not built.
            Defaults to (0, 1, 2, 3), strides 2 to 16, as for segmentation.
        norm_cfg (dict): normalisation. Group norm gets as many of its groups as divide a layer's channels. Defaults
            to batch norm.
        act_cfg (dict): activation. PReLU gets a slope per channel, unless ``num_parameters`` is set. Defaults to PReLU.
        init_cfg (dict | list[dict], optional): initialisation. Defaults to None: as the authors', Kaiming's for
            convolutions.

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
        """Rename the authors' keys to ours, and drop those of layers that are not here."""
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
        """From (B, C, H, W) to the levels of ``out_indices``, each (B, C_i, ceil(H / 2^(i+1)), ceil(W / 2^(i+1)))."""
        outs = [self.stem(image)]
        image = _halve(image)
        for level in self.levels:
            image = _halve(image)
            outs.append(level(outs[-1], image))
        return tuple(outs[index] for index in self.out_indices)
