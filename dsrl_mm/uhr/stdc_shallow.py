"""Shallow network of ISDNet: the first four stages of STDC1 (Fan et al., CVPR 2021)."""

from mmseg.models.backbones import STDCNet
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module(force=True)
class STDCShallow(STDCNet):
    """MMSegmentation's STDC1 without its last stage. Its two outputs have strides 8 and 16.

    Weights of STDC1 fit, also those for images of 3 channels: the first convolution's are repeated for every group of
    3 input channels, not divided, as ISDNet's authors do.

    Args:
        in_channels (int): input channels. Defaults to 6: two levels of a Laplacian pyramid.
        base_channels (int): width; the stages have 1/2, 1, 4 and 8 times as many channels, and ``out_channels`` are the
            last two. Defaults to 64.
        norm_cfg (dict): normalization. Defaults to batch norm.
        act_cfg (dict): activation. Defaults to ReLU.
        init_cfg (dict, optional): initialization, e.g. pretrained weights. Defaults to None.

    Raises:
        ValueError: if ``base_channels`` is not a multiple of 2.
    """

    def __init__(
        self,
        in_channels: int = 6,
        base_channels: int = 64,
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU'),
        init_cfg: dict | None = None,
    ):
        if base_channels < 2 or base_channels % 2:
            raise ValueError(f'STDCShallow: base_channels must be a multiple of 2, got {base_channels!r}')
        channels = [base_channels * halves // 2 for halves in (1, 2, 8, 16, 32)]
        super().__init__('STDCNet1', in_channels, channels, 'cat', norm_cfg, act_cfg, init_cfg=init_cfg)
        del self.stages[4]
        self.out_channels = tuple(channels[2:4])
        self._register_load_state_dict_pre_hook(self._adopt_stdc)

    def _adopt_stdc(self, state_dict: dict, prefix: str, *_) -> None:
        """Fit the weights of a whole STDC1, in place: repeat the first convolution's, leave out the last stage's."""
        name = f'{prefix}stages.0.conv.weight'
        weight, channels = state_dict.get(name), self.stages[0].conv.in_channels
        if weight is not None and channels % weight.shape[1] == 0:
            state_dict[name] = weight.repeat(1, channels // weight.shape[1], 1, 1)
        for key in [key for key in state_dict if key.startswith(f'{prefix}stages.4.')]:
            del state_dict[key]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Extract features (B, 4 base_channels, H / 8, W / 8) and (B, 8 base_channels, H / 16, W / 16)."""
        return super().forward(image)
