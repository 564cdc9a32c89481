"""The commands behind ``tools/train.py``, ``tools/test.py`` and ``tools/deploy.py``; options as in MMSegmentation."""

import argparse
import gc
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.distributed.elastic.multiprocessing.errors import record

from dsrl_mm.apis import ExportOptions, load_runtime, save_deploy, task_of
from dsrl_mm.apis.export import FORMATS
from dsrl_mm.apis.inferencer import find_model
from dsrl_mm.apis.runtime import is_exported, use_runtime
from dsrl_mm.engine.arguments import OptionsAction, require_files
from dsrl_mm.engine.checkpoint import last_checkpoint
from dsrl_mm.engine.config import read_config, type_name
from dsrl_mm.engine.dry_run import dry_run
from dsrl_mm.engine.fsdp import check_strategy
from dsrl_mm.engine.loading import check_classes, for_inference, unwrapped
from dsrl_mm.engine.memory import keep_freed_memory
from dsrl_mm.engine.reader import TrustCheckpoint
from dsrl_mm.engine.resume import make_resumable, resume_from

_CFG_OPTIONS_HELP = (
    'settings that override the config\'s, as key=value with dots: data.x=1. Lists as "[a,b]" or a,b; '
    'nested ones as "[(a,b),(c,d)]", quoted and without spaces'
)

_RENAMED_IN_DEPLOY = {
    '--lr-input': '--low-res-input',
    '--export': '--format pt2 --size',
    '--fp16': '--half',
}

#: The environment variable that holds a process's rank, by launcher.
_RANK = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs, checkpoints and results go (work_dirs/CONFIG_NAME)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help=_CFG_OPTIONS_HELP)
    parser.add_argument('--launcher', choices=['none', *_RANK], default='none', help='job launcher')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    # torch.distributed.launch passes one of these; torchrun sets the variable itself.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that a command line names, with its overrides and its working directory."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options, check=True)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(args.config).stem)))
    return cfg


def use_amp(cfg: Config) -> None:
    """Turn on mixed precision: float16 with loss scaling on CUDA, bfloat16 elsewhere."""
    wrapper = type_name(cfg.optim_wrapper) or 'OptimWrapper'
    if wrapper in ('AmpOptimWrapper', 'BFloat16OptimWrapper'):
        return
    if wrapper != 'OptimWrapper':
        raise ValueError(f'--amp replaces optim_wrapper.type="OptimWrapper", but the config has "{wrapper}"')
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
        task_of(cfg).use_bfloat16(cfg)


def _is_first_process(cfg: Config) -> bool:
    return os.environ.get(_RANK.get(cfg.launcher, ''), '0') == '0'


def preflight(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the config and its data, then try a run on its first batches; in the first process only."""
    if _is_first_process(cfg):
        task = task_of(cfg)
        task.check_data(cfg, phases)
        if cfg.get('check_data', True):
            dry_run(cfg, phases, task)


def _without_sync_bn(part: Any) -> Any:
    """Copy a model config, or a part of one, with BN for SyncBN."""
    if isinstance(part, dict):
        return {key: _without_sync_bn(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(_without_sync_bn(value) for value in part)
    return 'BN' if part == 'SyncBN' else part


def _find_each_other_by_slurm() -> None:
    """Set what PyTorch reads from SLURM's variables, as MMEngine does where there are GPUs.

    Raises:
        RuntimeError: if srun did not start this process.
    """
    if 'SLURM_STEP_NODELIST' not in os.environ:
        raise RuntimeError('--launcher slurm is for processes that srun starts: use tools/slurm_train.sh')
    nodes = subprocess.check_output(['scontrol', 'show', 'hostnames', os.environ['SLURM_STEP_NODELIST']], text=True)
    os.environ.setdefault('MASTER_ADDR', nodes.split()[0])
    os.environ.setdefault('MASTER_PORT', '29500')
    for name, slurm in dict(RANK='PROCID', LOCAL_RANK='LOCALID', WORLD_SIZE='NTASKS').items():
        os.environ[name] = os.environ[f'SLURM_{slurm}']


def _distribute_on_cpus(cfg: Config) -> None:
    """Replace what MMEngine and the configs use in distributed runs and what needs a GPU per process."""
    if cfg.launcher == 'slurm':
        _find_each_other_by_slurm()
    elif cfg.launcher != 'pytorch':
        raise ValueError(
            f'--launcher {cfg.launcher} needs GPUs. On CPUs, use tools/dist_train.sh, dist_test.sh or slurm_train.sh'
        )
    torch.distributed.init_process_group('gloo')  # MMEngine's own call selects a GPU first
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
        device_ids=None,
    )
    cfg.model_wrapper_cfg = wrapper | cfg.get('model_wrapper_cfg', {})
    model = _without_sync_bn(cfg.model)
    if model != cfg.model:
        print_log('SyncBN needs GPUs, so BN replaces it: every process has its own batch statistics', 'current')
    cfg.model = model


def _build_runner(cfg: Config) -> Runner:
    """Build MMEngine's ``Runner`` or the config's ``runner_type``, such as ``FlexibleRunner`` for a strategy."""
    if cfg.launcher != 'none' and get_device() == 'cpu':
        _distribute_on_cpus(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _disconnect_processes() -> None:
    """Close the connections that :func:`_distribute_on_cpus` opened.

    Their threads must end before Python does, or a process that has finished is sometimes aborted. The model and its
    runner hold the connections open, so they are freed first.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo':
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        gc.collect()


def training_config(argv: Sequence[str] | None = None) -> Config:
    """Read the config that ``tools/train.py`` trains with from its command line."""
    parser = _parser('Train a model')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='newest',
        metavar='CHECKPOINT',
        help='continue from a checkpoint, by default the newest in the work dir that can be read; if there is none, '
        'start from the beginning',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on CUDA, bfloat16 on CPUs')
    args = parser.parse_args(argv)
    require_files(parser, args.config, *([] if args.resume in (None, 'newest') else [args.resume]))
    cfg = load_config(args)
    if args.amp:
        use_amp(cfg)
    make_resumable(cfg)
    if 'strategy' in cfg:
        check_strategy(cfg)
        cfg.setdefault('runner_type', 'FlexibleRunner')
    if args.resume and (checkpoint := last_checkpoint(cfg) if args.resume == 'newest' else args.resume):
        resume_from(cfg, str(checkpoint))
    return cfg


@contextmanager
def _alone_in(cfg: Config) -> Iterator[None]:
    """Keep the work dir for this training: another would overwrite its checkpoints."""
    if not _is_first_process(cfg):
        yield
        return
    Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(Path(cfg.work_dir, '.lock'), timeout=0):
            yield
    except Timeout as error:
        raise RuntimeError(
            f'Another training runs in {cfg.work_dir}. Wait for it, or set another --work-dir.'
        ) from error


@record
def train(argv: Sequence[str] | None = None) -> None:
    """Train the model of a config file."""
    cfg = training_config(argv)
    preflight(cfg, ('train', 'val'))
    with _alone_in(cfg):
        if get_device() == 'cpu':
            keep_freed_memory()
        before = signal.getsignal(signal.SIGTERM)
        try:
            _build_runner(cfg).train()
        finally:
            signal.signal(signal.SIGTERM, before)  # ResumableTrainingHook replaces it
        _disconnect_processes()


@record
def test(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Test the model of a config file with a checkpoint, and return its metrics."""
    parser = _parser('Test (and evaluate) a model')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file, or a file that tools/deploy.py exported; left out if CONFIG is a folder of '
        'tools/misc/to_hub.py or a name in the model zoo',
    )
    parser.add_argument(
        '--out', help='folder for the predictions: one PNG of class ids per image, or predictions.keypoints.json'
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--show-dir',
        help='folder for pictures: ground truth and prediction, in vis_data/vis_image; for poses, one per person',
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a picture is shown')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation of segmentation: several scales, and flips'
    )
    parser.add_argument(
        '--sr-metrics',
        action='store_true',
        help='also PSNR and SSIM of the rebuilt images and of the enlarged network input',
    )
    args = parser.parse_intermixed_args(argv)  # options may stand between config and checkpoint
    if args.checkpoint is None:
        args.config, args.checkpoint, options = find_model(args.config)
        args.cfg_options = options | (args.cfg_options or {})
    require_files(parser, args.config, args.checkpoint)
    if args.tta and args.sr_metrics:
        parser.error('--sr-metrics compares one rebuilt image with one canvas: leave out --tta')
    exported = load_runtime(args.checkpoint) if is_exported(args.checkpoint) else None
    if exported and (args.tta or args.sr_metrics):
        parser.error('--tta and --sr-metrics need a checkpoint, not an exported file')
    cfg = load_config(args)
    cfg.load_from = None if exported else args.checkpoint
    if 'strategy' in cfg:
        cfg.pop('runner_type', None)  # which trained with it
    preflight(cfg, ('test',))
    task = task_of(cfg)
    if args.show or args.show_dir:
        task.draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.out:
        task.keep_predictions(cfg, args.out)
    if args.sr_metrics:
        task.use_sr_metrics(cfg)
    if args.tta:
        task.use_tta(cfg)
    if exported:
        cfg.model = for_inference(cfg.model)
        runner = _build_runner(cfg)
        classes = runner.test_loop.dataloader.dataset.metainfo.get('classes')
        check_classes(dict(dataset_meta=exported.meta), classes, args.checkpoint)
        use_runtime(unwrapped(runner.model), exported)
    else:
        cfg.custom_hooks = [*cfg.get('custom_hooks', ()), dict(type='CompleteCheckpointHook')]
        runner = _build_runner(cfg)
    metrics = runner.test()
    _disconnect_processes()
    return metrics


def deploy(argv: Sequence[str] | None = None) -> None:
    """Write a trained model without its training-only parts, and export it."""
    parser = argparse.ArgumentParser(description=deploy.__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out_dir', help='folder for deploy.py, deploy.pth and the exported files')
    parser.add_argument(
        '--low-res-input',
        action='store_true',
        help='read low-resolution frames; the mask is scale_factor times larger',
    )
    parser.add_argument('--format', nargs='+', choices=[*FORMATS], default=[], help='exported files')
    parser.add_argument('--size', nargs=2, type=int, metavar=('H', 'W'), help="input size (the config's)")
    parser.add_argument(
        '--dynamic', action='store_true', help='leave the batch and the size open, in multiples of 32 network pixels'
    )
    parser.add_argument(
        '--argmax', action='store_true', help='bytes in, normalization inside, masks or keypoints out, not logits'
    )
    parser.add_argument(
        '--half', action='store_true', help='float16 weights in deploy.pth and .xml, float16 throughout in .onnx'
    )
    parser.add_argument('--int8', action='store_true', help='quantize .onnx and .xml; needs --calib-dir')
    parser.add_argument('--calib-dir', type=Path, help='images to calibrate --int8 and to compare with (random ones)')
    parser.add_argument('--calib-images', type=int, default=100, metavar='N', help='images for --int8 (100)')
    parser.add_argument(
        '--verify', type=int, default=3, metavar='N', help='images to compare each file with PyTorch on (3); 0: none'
    )
    for old in _RENAMED_IN_DEPLOY:
        parser.add_argument(old, nargs='*', help=argparse.SUPPRESS)
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help=_CFG_OPTIONS_HELP)
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    args = parser.parse_args(argv)
    for old, new in _RENAMED_IN_DEPLOY.items():
        if getattr(args, old[2:].replace('-', '_')) is not None:
            parser.error(f'{old} is now {new}')
    if args.half and args.int8:
        parser.error('--half or --int8, not both')
    require_files(parser, args.config, args.checkpoint)
    cfg = read_config(args.config, args.cfg_options)
    export = ExportOptions(
        formats=args.format,
        size=args.size,
        dynamic=args.dynamic,
        argmax=args.argmax,
        precision='int8' if args.int8 else 'float16' if args.half else 'float32',
        image_dir=args.calib_dir,
        calibration=args.calib_images,
        verify=args.verify,
    )
    for file in save_deploy(cfg, args.checkpoint, args.out_dir, args.low_res_input, args.half, export):
        print(f'{file}  {file.stat().st_size / 2**20:.1f} MiB')
