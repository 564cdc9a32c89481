"""What the paper is made of; registered in MMEngine's root registries."""

from dsrl_mm import compat

compat.prepare('mmengine', 'mmcv')

from .affinity import affinity_loss  # noqa: E402
from .checkpoint import AtomicLocalBackend, SafeCheckpointHook  # noqa: E402
from .fa_loss import FALoss, StructureDistillationLoss  # noqa: E402
from .hooks import NonFiniteLossHook  # noqa: E402
from .loading import CompleteCheckpointHook  # noqa: E402
from .metrics import SRMetric  # noqa: E402
from .optim import BFloat16OptimWrapper  # noqa: E402
from .resample import area_downsample, check_scale_factor, nearest_downsample, pad_to_multiple  # noqa: E402
from .sisr import SISRAuxHead  # noqa: E402
from .sr_aux import SRAux  # noqa: E402
from .upsample import DeconvUpsampler, SubPixelUpsampler  # noqa: E402

__all__ = [
    'AtomicLocalBackend',
    'CompleteCheckpointHook',
    'BFloat16OptimWrapper',
    'DeconvUpsampler',
    'FALoss',
    'NonFiniteLossHook',
    'SISRAuxHead',
    'SRAux',
    'SRMetric',
    'StructureDistillationLoss',
    'SafeCheckpointHook',
    'SubPixelUpsampler',
    'affinity_loss',
    'area_downsample',
    'check_scale_factor',
    'nearest_downsample',
    'pad_to_multiple',
]
