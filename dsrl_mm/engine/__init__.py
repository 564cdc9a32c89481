"""Parts for every task: guards, checkpoints, mixed precision, metrics of rebuilt images; importing registers them."""

from dsrl_mm import compat

compat.prepare('mmengine', 'mmcv')
compat.let_pipelines_name_files()
compat.let_one_process_write_metrics()

from .checkpoint import AtomicLocalBackend, SafeCheckpointHook  # noqa: E402
from .fsdp import FSDP2Strategy  # noqa: E402
from .hooks import NonFiniteLossHook  # noqa: E402
from .loading import CompleteCheckpointHook  # noqa: E402
from .metrics import SRMetric  # noqa: E402
from .optim import BFloat16OptimWrapper  # noqa: E402
from .reader import trust_checkpoints  # noqa: E402
from .resume import ResumableSampler, ResumableTrainingHook  # noqa: E402
from .super_resolution import SuperResolutionMixin  # noqa: E402

__all__ = [
    'AtomicLocalBackend',
    'BFloat16OptimWrapper',
    'CompleteCheckpointHook',
    'FSDP2Strategy',
    'NonFiniteLossHook',
    'ResumableSampler',
    'ResumableTrainingHook',
    'SRMetric',
    'SafeCheckpointHook',
    'SuperResolutionMixin',
    'trust_checkpoints',
]
