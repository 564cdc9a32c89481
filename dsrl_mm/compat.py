"""Workarounds for gaps of the host libraries; each is applied only where it is needed."""

import importlib.machinery
import importlib.util
import io
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache, wraps
from importlib import import_module, metadata
from pathlib import Path
from pickle import UnpicklingError

import numpy as np

#: Import name -> distributions of the original; the continuation's is the first one's name after "onedl-".
_ORIGINALS = {
    'mmengine': ('mmengine', 'mmengine-lite'),
    'mmcv': ('mmcv', 'mmcv-lite'),
    'mmseg': ('mmsegmentation',),
}

#: Packages that mmpose imports and dsrl_mm does not.
_IMPORTED_BY_MMPOSE = ('mmpose', 'munkres', 'scipy', 'six', 'torchvision', 'xtcocotools')


def prepare(*packages: str) -> None:
    """Make the host libraries importable, or name the packages to install.

    Args:
        *packages (str): import names the caller is about to import, e.g. 'mmseg'.

    Raises:
        ImportError: if one of them, or a package that mmpose imports, is not installed or does not fit the NumPy
            that is.
    """
    for package in packages:
        if package == 'mmpose':
            _check_mmpose()
        elif importlib.util.find_spec(package) is None:
            raise ImportError(
                f'dsrl_mm needs {package}, which is not installed. Type: pip install "dsrl_mm[onedl]" (OpenMMLab\'s '
                'maintained continuation) or pip install "dsrl_mm[openmmlab]" (the original packages), never both: '
                'docs/get_started.md.'
            )
        _warn_of_two_stacks(package)
    _stand_in_for_torchvision_ops()
    if 'mmcv' in packages:
        _stand_in_for_mmcv_ops()
    if 'mmpose' in packages:
        _stand_in_for_mmdet_utils()
    if 'mmengine' in packages:
        _allow_checkpoint_values()


def _check_mmpose() -> None:
    """Check that mmpose and its imports are installed, and compiled for the installed NumPy."""
    missing = [name for name in _IMPORTED_BY_MMPOSE if importlib.util.find_spec(name) is None]
    reinstall = ''
    if missing:
        problem = f'dsrl_mm.pose needs {" and ".join(missing)}, which {"are" if missing[1:] else "is"} not installed.'
    else:
        try:
            import_module('xtcocotools.mask')  # its compiled part
            return
        except (ImportError, ValueError) as error:
            reinstall = '--force-reinstall --no-cache-dir '
            problem = (
                f'The installed xtcocotools was compiled for another NumPy than {metadata.version("numpy")} ({error}).'
            )
    raise ImportError(
        f'{problem} Type (the second line in a checkout of dsrl_mm, see docs/get_started.md, "Pose estimation"):\n'
        f'    pip install "dsrl_mm[pose]" torch=={metadata.version("torch")}\n'
        f'    pip install {reinstall}--no-deps --no-build-isolation -r requirements/mmpose.txt'
    )


def let_mmpose_draw_circles() -> None:
    """Make MMPose's drawing of keypoints work with NumPy >= 2.4, which refuses ``int()`` of one-element arrays."""
    from mmpose.visualization.opencv_backend_visualizer import OpencvBackendVisualizer

    stock = OpencvBackendVisualizer.draw_circles

    @wraps(stock)
    def draw_circles(self, center, radius, *args, **kwargs):
        if self.backend == 'opencv':
            radius = np.asarray(radius).item()
        return stock(self, center, radius, *args, **kwargs)

    OpencvBackendVisualizer.draw_circles = draw_circles


@cache  # once
def let_preprocessors_take_bands() -> None:
    """Make MMEngine's data preprocessor, and those that inherit from it, take means of other than 1 or 3 bands."""
    import torch
    from mmengine.model import ImgDataPreprocessor

    stock = ImgDataPreprocessor.__init__

    @wraps(stock)
    def init(self, mean=None, std=None, *args, **kwargs):
        if mean is None or std is None or {len(mean), len(std)} <= {1, 3}:
            stock(self, mean, std, *args, **kwargs)
            return
        if len(mean) != len(std):
            raise ValueError(f'data_preprocessor: mean has {len(mean)} values, but std has {len(std)}')
        stock(self, None, None, *args, **kwargs)
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), False)

    ImgDataPreprocessor.__init__ = init


def let_one_process_write_metrics() -> None:
    """Make only the first process of a distributed test write its metrics and logs.

    Every process of MMEngine's writes them to the same file at the same time. They differ in the times that the
    processes took, so the file may end in a part of a longer text, and is no JSON any more.
    """
    from mmengine.dist import master_only
    from mmengine.hooks import LoggerHook

    LoggerHook.after_test_epoch = master_only(LoggerHook.after_test_epoch)


def let_pipelines_name_files() -> None:
    """Make errors in MMEngine's pipelines name the file, with a worker's, too."""
    from mmengine.dataset import Compose

    def call(self, data):
        for transform in self.transforms:
            name = getattr(transform, '__name__', type(transform).__name__)
            files = [data.get('seg_map_path') if 'Annotation' in name else None, data.get('img_path')]
            try:
                data = transform(data)
            except Exception as error:
                file = next((str(file) for file in files if file), None)
                if file is None or file in str(error):
                    raise
                raise RuntimeError(f'{file}: {name} fails with {type(error).__name__}: {error}') from error
            if data is None:  # the data set takes another sample
                return None
        return data

    Compose.__call__ = call


@contextmanager
def quiet_import() -> Iterator[None]:
    """Drop the line that mmseg prints during its import for every part whose optional package is missing."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            if line != 'Could not import OneDL':
                print(line)


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache  # once
def _warn_of_two_stacks(package: str) -> None:
    originals = _ORIGINALS.get(package, ())
    both = [name for name in (*originals, *(f'onedl-{name}' for name in originals[:1])) if _is_installed(name)]
    if len(both) > 1:
        warnings.warn(
            f'{" and ".join(both)} are both installed, and one has overwritten files of the other in the folder '
            f'"{package}". Keep one: pip uninstall {" ".join(both)}, then install it again.',
            stacklevel=4,
        )


def _stand_in_for_mmcv_ops() -> None:
    """Provide placeholders of mmcv's compiled operators, which raise an error when they are used.

    mmcv's wheels have them for few versions of torch, and a build from source takes minutes. Few models need them, for
    example deformable attention, but mmseg imports all of them.
    """
    if 'mmcv._ext' in sys.modules or importlib.util.find_spec('mmcv._ext') is not None:
        return

    class MissingOps(types.ModuleType):
        def __getattr__(self, name: str):
            if name.startswith('__'):
                raise AttributeError(name)

            def missing(*args, **kwargs):
                raise ImportError(
                    f'mmcv\'s compiled operator "{name}" is not installed. Build mmcv with its operators '
                    '(docs/get_started.md) to use a model that needs it; DSRL itself does not.'
                )

            return missing

    module = MissingOps('mmcv._ext')
    module.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', None)
    sys.modules['mmcv._ext'] = module


def _stand_in_for_mmdet_utils() -> None:
    """Provide the two names that mmpose's RTMO head imports from ``mmdet.utils``; ``import mmdet`` still fails."""
    if 'mmdet.utils' in sys.modules or importlib.util.find_spec('mmdet') is not None:
        return

    def reduce_mean(tensor):
        from mmpose.utils import reduce_mean  # the same function

        return reduce_mean(tensor)

    module = types.ModuleType('mmdet.utils')
    module.__spec__ = importlib.machinery.ModuleSpec('mmdet.utils', None)
    module.ConfigType, module.reduce_mean = dict, reduce_mean
    sys.modules['mmdet.utils'] = module


# Kept alive: an operator schema vanishes with the library object that defined it.
_torchvision_library = None


def _stand_in_for_torchvision_ops() -> None:
    """Let torchvision be imported without its C library, which its wheel cannot load with a CPU-only torch."""
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


def _allow_checkpoint_values() -> None:
    """Let a weights-only ``torch.load`` take what MMEngine's checkpoints hold besides tensors.

    That is logged values and NumPy's numbers, which MMPose's metas of data sets hold, too.
    """
    import torch
    from mmengine.logging import HistoryBuffer

    def method_of_history(owner: type, name: str):
        if owner is not HistoryBuffer:
            raise UnpicklingError(f'the file asks for {name} of {owner}: only methods of HistoryBuffer are expected')
        return getattr(owner, name)

    rebuild_array, rebuild_scalar = np.empty(0).__reduce__()[0], np.float64().__reduce__()[0]
    allowed = [HistoryBuffer, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in np.typecodes['All']}]
    for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):  # as NumPy 2 and 1 write it
        allowed += [(rebuild_array, f'{module}._reconstruct'), (rebuild_scalar, f'{module}.scalar')]
    # A history's statistics are methods, which pickle as getattr(HistoryBuffer, name). Nothing else may use getattr.
    torch.serialization.add_safe_globals([*allowed, (method_of_history, 'builtins.getattr')])
