"""DABNet, a lightweight backbone of depth-wise asymmetric bottlenecks (Li & Kim, BMVC 2019)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from .norm_act import fit_act, fit_norm

#: The authors' batch norm; PyTorch's eps is 1e-5.
_NORM_CFG = dict(type='BN', eps=1e-3)


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int] = (3, 3),
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """Build a convolution that keeps the grid, or divides its sides by the stride and rounds up."""
    padding = tuple(size // 2 * dilation for size in kernel_size)
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)


def _norm_act(channels: int, norm_cfg: dict, act_cfg: dict) -> nn.Sequential:
    norm = build_norm_layer(fit_norm(norm_cfg, channels), channels)[1]
    # Named, so that paramwise_cfg.custom_keys can tell the slopes ('.act.') from the weights.
    return nn.Sequential(OrderedDict(norm=norm, act=build_activation_layer(fit_act(act_cfg, channels))))


class DABModule(BaseModule):
    """Depth-wise asymmetric bottleneck (Sec. 3.1 of the paper): a residual with two depth-wise branches.

    A 3x3 convolution halves the channels. A local and a dilated branch follow, each of a 3x1 and a 1x3 depth-wise
    convolution. A 1x1 convolution restores the channels of their sum. Every convolution is preceded by a norm and an
    activation. The last is followed by neither, so the residual is not rectified.

    Args:
        channels (int): input and output channels, C, even.
        dilation (int): dilation of the second branch. Defaults to 1.
        norm_cfg (dict): normalization. Defaults to batch norm.
        act_cfg (dict): activation. Defaults to PReLU with one slope per channel.

    Raises:
        ValueError: if the number of channels is odd.
    """

    def __init__(
        self, channels: int, dilation: int = 1, norm_cfg: dict = _NORM_CFG, act_cfg: dict = dict(type='PReLU')
    ):
        super().__init__()
        if channels % 2:
            raise ValueError(f'DABModule: channels are halved inside, so they must be even, got {channels}')
        half = channels // 2

        def norm_act(n: int) -> nn.Sequential:
            return _norm_act(n, norm_cfg, act_cfg)

        def branch(dilation: int) -> nn.Sequential:
            vertical, horizontal = (_conv(half, half, size, 1, dilation, groups=half) for size in ((3, 1), (1, 3)))
            return nn.Sequential(vertical, norm_act(half), horizontal, norm_act(half))

        self.reduce = nn.Sequential(norm_act(channels), _conv(channels, half), norm_act(half))
        self.local, self.context = branch(1), branch(dilation)
        self.expand = nn.Sequential(norm_act(half), _conv(half, channels, (1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Transform features (B, C, H, W) to the same shape."""
        reduced = self.reduce(x)
        return x + self.expand(self.local(reduced) + self.context(reduced))


class _Downsampling(BaseModule):
    """Downsampling block (Sec. 3.2): a strided convolution, concatenated with max pooling of the input.

    As in the authors' code, there is no pooling if the input has as many channels as the output. Both round odd sides
    up.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, act_cfg: dict):
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if in_channels < out_channels else None
        self.conv = _conv(in_channels, out_channels - in_channels if self.pool else out_channels, stride=2)
        self.norm_act = _norm_act(out_channels, norm_cfg, act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        feat = self.conv(x)
        if self.pool is not None:
            feat = torch.cat([feat, self.pool(x)], dim=1)
        return self.norm_act(feat)


@MODELS.register_module(force=True)
class DABNet(BaseModule):
    """Backbone of "DABNet: Depth-wise Asymmetric Bottleneck for Real-time Semantic Segmentation".

    https://arxiv.org/abs/1907.11357 (Sec. 3.2, Table 1), checked against https://github.com/Reagan1311/DABNet.

    Three 3x3 convolutions, the first of stride 2, are followed by two stages, each of a downsampling block and DAB
    modules. The average-pooled image is concatenated to each of the three outputs, and the input of a stage's DAB
    modules to the stage's output (the long-range connections). The paper's decoder is a 1x1 classifier on the last
    output, followed by bilinear interpolation:
    ``FCNHead(in_channels=259, channels=259, in_index=2, num_convs=0, concat_input=False)``.

    With 19 classes and that head, it has 0.757 M parameters (paper: 0.76 M) and 10.22 G multiply-adds at 512x1024,
    i.e. 20.44 GFLOPs, as in the DSRL paper.

    Args:
        in_channels (int): channels of the image, C. Defaults to 3.
        channels (Sequence[int]): channels of the initial block and of each stage, C_0, C_1, ...; those of stages are
            even. Defaults to (32, 64, 128).
        dilations (Sequence[Sequence[int]]): dilation of each DAB module, by stage. Defaults to
            ((2, 2, 2), (4, 4, 8, 8, 16, 16)), as in the paper.
        norm_cfg (dict): normalization. Defaults to batch norm with the authors' eps=1e-3. For group norm, the number of
            groups is reduced to a divisor of the channels: 1 for the outputs, whose channels are odd.
        act_cfg (dict): activation. Defaults to PReLU with one slope per channel, unless ``num_parameters`` is set.
            Names of slopes contain ``.act.``. To exempt them from weight decay, unlike the authors, set
            ``paramwise_cfg=dict(custom_keys={'.act.': dict(decay_mult=0.0)})``.
        init_cfg (dict | list[dict], optional): initialization. Defaults to None: Kaiming normal by fan-in, as in the
            authors' code, which trains from scratch.

    Raises:
        ValueError: if ``channels`` and ``dilations`` do not match, or a stage's channels are odd.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 64, 128),
        dilations: Sequence[Sequence[int]] = ((2, 2, 2), (4, 4, 8, 8, 16, 16)),
        norm_cfg: dict = _NORM_CFG,
        act_cfg: dict = dict(type='PReLU'),
        init_cfg: dict | list[dict] | None = None,
    ):
        if init_cfg is None:
            init_cfg = dict(type='Kaiming', layer='Conv2d', mode='fan_in')
        super().__init__(init_cfg)
        if len(channels) != len(dilations) + 1:
            raise ValueError(
                f'DABNet: channels={tuple(channels)} are those of the initial block and of each stage, but dilations='
                f'{tuple(dilations)} are those of {len(dilations)} stages'
            )
        cfgs = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        stem = channels[0]
        convs = [(in_channels, stem, 2), (stem, stem, 1), (stem, stem, 1)]
        self.stem = nn.Sequential(
            *(nn.Sequential(_conv(a, b, stride=stride), _norm_act(b, **cfgs)) for a, b, stride in convs)
        )
        self.image_pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.downsamplings, self.blocks = nn.ModuleList(), nn.ModuleList()
        widths = [stem + in_channels]
        for out_channels, rates in zip(channels[1:], dilations):
            self.downsamplings.append(_Downsampling(widths[-1], out_channels, **cfgs))
            self.blocks.append(nn.Sequential(*(DABModule(out_channels, rate, **cfgs) for rate in rates)))
            widths.append(2 * out_channels + in_channels)
        self.norm_acts = nn.ModuleList(_norm_act(width, **cfgs) for width in widths)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of all stages.

        Args:
            x (Tensor): normalized image, (B, C, H, W), of any size.

        Returns:
            tuple[Tensor, ...]: features of the initial block, (B, C_0 + C, H / 2, W / 2), and of each stage i = 1, 2,
            ..., (B, 2 C_i + C, H / 2^(i+1), W / 2^(i+1)), with sides rounded up. By default, 35, 131 and 259 channels
            at strides 2, 4 and 8.
        """
        image = self.image_pool(x)
        outs = [self.norm_acts[0](torch.cat([self.stem(x), image], dim=1))]
        for downsampling, block, norm_act in zip(self.downsamplings, self.blocks, self.norm_acts[1:]):
            first = downsampling(outs[-1])
            image = self.image_pool(image)
            outs.append(norm_act(torch.cat([block(first), first, image], dim=1)))
        return tuple(outs)
