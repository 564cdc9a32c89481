"""The components of the papers, registered in MMEngine's root registries."""

from dsrl_mm import compat

compat.prepare('mmengine', 'mmcv')

from .affinity import affinity_loss  # noqa: E402
from .fa_loss import FALoss, StructureDistillationLoss  # noqa: E402
from .resample import area_downsample, check_scale_factor, nearest_downsample, pad_to_multiple  # noqa: E402
from .sisr import SISRAuxHead  # noqa: E402
from .sr_aux import Shared, SRAux  # noqa: E402
from .upsample import DeconvUpsampler, SubPixelUpsampler  # noqa: E402

__all__ = [
    'DeconvUpsampler',
    'FALoss',
    'SISRAuxHead',
    'SRAux',
    'Shared',
    'StructureDistillationLoss',
    'SubPixelUpsampler',
    'affinity_loss',
    'area_downsample',
    'check_scale_factor',
    'nearest_downsample',
    'pad_to_multiple',
]
