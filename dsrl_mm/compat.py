"""Stand-ins for compiled parts that DSRL does not need but that the host libraries import.

Each acts only where the real thing is missing, and raises a clear error when it is *used*:

- ``mmcv._ext``, mmcv's compiled operators: mmcv's own wheels exist for few versions of torch, and a build from source
  takes minutes. Only operators such as deformable attention need it.
- ``torchvision::nms``: the published torchvision wheel next to a CPU-only torch cannot load its C library, and then
  ``import torchvision`` fails although its Python part works.
"""

import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path

__all__ = ['prepare']

_INSTALL_HINT = {
    'mmengine': 'pip install "dsrl_mm[onedl]"',
    'mmcv': 'pip install "dsrl_mm[onedl]"',
    'mmseg': 'pip install "dsrl_mm[onedl]"',
}


def prepare(*packages: str) -> None:
    """Make the host libraries importable, or say what to install.

    Args:
        *packages (str): import names the caller is about to import, e.g. 'mmseg'.

    Raises:
        ImportError: if one of them is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"dsrl_mm needs {package}, which is not installed. Type: {_INSTALL_HINT[package]} (OpenMMLab's "
                'maintained continuation), or install the original packages as README.md ("Install") shows.'
            )
    _stand_in_for_mmcv_ops()
    _stand_in_for_torchvision_ops()


def _stand_in_for_mmcv_ops() -> None:
    if 'mmcv._ext' in sys.modules or importlib.util.find_spec('mmcv._ext') is not None:
        return

    class MissingOps(types.ModuleType):
        def __getattr__(self, name: str):
            if name.startswith('__'):
                raise AttributeError(name)

            def missing(*args, **kwargs):
                raise ImportError(
                    f'mmcv\'s compiled operator "{name}" is not installed. Build mmcv with its operators '
                    '(README.md, "Install") to use a model that needs it; DSRL itself does not.'
                )

            return missing

    module = MissingOps('mmcv._ext')
    module.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', None)
    sys.modules['mmcv._ext'] = module


# Kept alive: an operator schema vanishes with the library object that defined it.
_torchvision_library = None


def _stand_in_for_torchvision_ops() -> None:
    global _torchvision_library
    spec = None if 'torchvision' in sys.modules else importlib.util.find_spec('torchvision')
    if spec is None or _torchvision_library is not None:
        return
    import torch

    compiled = next(Path(spec.origin).parent.glob('_C.*'), None)
    if compiled is not None:
        try:
            torch.ops.load_library(compiled)
            return
        except OSError:  # built for another torch: its CUDA libraries are not here
            pass
    _torchvision_library = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'):
        _torchvision_library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
