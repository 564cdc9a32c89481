"""The commands behind ``tools/train.py``, ``tools/test.py`` and ``tools/deploy.py``; MMSegmentation's options.

The config's ``default_scope`` says which task it is for, 'mmseg' or 'mmpose'; the other's library is not needed.
"""

import argparse
import gc
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch.distributed.elastic.multiprocessing.errors import record

import dsrl_mm.engine  # noqa: F401  (the hooks and wrappers that the options put into configs)
from dsrl_mm.engine.config import type_name
from dsrl_mm.engine.memory import keep_freed_memory

__all__ = ['deploy', 'load_config', 'preflight', 'test', 'train', 'training_config', 'use_amp']

_CFG_OPTIONS_HELP = (
    'settings that override the config\'s, as key=value with dots: data.x=1. Lists as "[a,b]" or a,b; '
    'nested ones as "[(a,b),(c,d)]", quoted and without spaces'
)

#: The environment variable that holds a process's number, by launcher.
_RANK = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs, checkpoints and results go (work_dirs/CONFIG_NAME)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help=_CFG_OPTIONS_HELP)
    parser.add_argument('--launcher', choices=['none', *_RANK], default='none', help='job launcher')
    # torch.distributed.launch passes one of these; torchrun sets the variable itself.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Read the config a command line names, with its overrides and its working directory."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(args.config).stem)))
    return cfg


def _is_for_poses(cfg: Config) -> bool:
    return cfg.get('default_scope') == 'mmpose'


def use_amp(cfg: Config) -> None:
    """Turn on mixed precision: float16 with loss scaling where there is CUDA, bfloat16 elsewhere.

    In bfloat16, poses are trained without logging ``acc_pose``.
    """
    wrapper = type_name(cfg.optim_wrapper) or 'OptimWrapper'
    if wrapper in ('AmpOptimWrapper', 'BFloat16OptimWrapper'):
        return
    if wrapper != 'OptimWrapper':
        raise ValueError(f'--amp replaces optim_wrapper.type="OptimWrapper", but the config has "{wrapper}"')
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
        if _is_for_poses(cfg):  # MMPose computes the accuracy of a batch in NumPy, which has no bfloat16
            cfg.model.train_cfg = dict(cfg.model.get('train_cfg') or {}, compute_acc=False)


def preflight(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the config, what it needs and its data, once for all processes."""
    rank = os.environ.get(_RANK.get(cfg.launcher, ''), '0')
    if rank != '0':
        return
    if _is_for_poses(cfg):
        from .pose.preflight import check_data

        check_data(cfg, phases)
    elif cfg.get('default_scope') == 'mmseg':
        from .seg.checks.data import check_data, check_packages

        check_packages(cfg)
        check_data(cfg, phases)


def _without_sync_bn(part: Any) -> Any:
    """A copy of a model config, or of a part of one, with BN for SyncBN."""
    if isinstance(part, dict):
        return {key: _without_sync_bn(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(_without_sync_bn(value) for value in part)
    return 'BN' if part == 'SyncBN' else part


def _distribute_on_cpus(cfg: Config) -> None:
    """Do without what MMEngine and the configs take for granted of distributed runs: a GPU per process."""
    if cfg.launcher != 'pytorch':
        raise ValueError(f'--launcher {cfg.launcher} needs GPUs. On CPUs, use tools/dist_train.sh and dist_test.sh')
    torch.distributed.init_process_group('gloo')  # MMEngine's own call selects a GPU first
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
        device_ids=None,
    )
    cfg.model_wrapper_cfg = wrapper | cfg.get('model_wrapper_cfg', {})
    model = _without_sync_bn(cfg.model)
    if model != cfg.model and is_main_process():
        print_log('SyncBN needs GPUs, so it becomes BN: every process has batch statistics of its own')
    cfg.model = model


def _build_runner(cfg: Config) -> Runner:
    """MMEngine's ``Runner``, or the one the config names, such as ``FlexibleRunner`` for FSDP and DeepSpeed."""
    if cfg.launcher != 'none' and get_device() == 'cpu':
        _distribute_on_cpus(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _part_from_other_processes() -> None:
    """Close the connections that :func:`_distribute_on_cpus` opened.

    Their threads must end before Python does, or a process that has done its work is aborted, every now and then. What
    is left of the model and its runner holds the connections open, so it goes first.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo':
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        gc.collect()


def _mend_last_checkpoint(work_dir: Path) -> None:
    """Write ``last_checkpoint`` anew where what it names is not there.

    That is after a kill between MMEngine's emptying the file and filling it, and in a folder that was moved: MMEngine
    writes whole paths.
    """
    note = work_dir / 'last_checkpoint'
    if not note.exists() or (named := note.read_text().strip()) and Path(named).exists():
        return
    saved = [file for file in work_dir.glob('*.pth') if re.fullmatch(r'(iter|epoch)_\d+', file.stem)]
    if saved:
        note.write_text(str(max(saved, key=lambda file: int(file.stem.split('_')[1]))))
    else:
        note.unlink()


def training_config(argv: Sequence[str] | None = None) -> Config:
    """The config that ``tools/train.py`` trains with, from its command line."""
    parser = _parser('Train a model')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue from the last checkpoint in the work dir; without one, start as always',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on CUDA, bfloat16 on CPUs')
    args = parser.parse_args(argv)
    cfg = load_config(args)
    if args.amp:
        use_amp(cfg)
    if args.resume:
        _mend_last_checkpoint(Path(cfg.work_dir))
        if Path(cfg.work_dir, 'last_checkpoint').exists():
            cfg.update(resume=True, load_from=None)  # MMEngine would prefer load_from: what the training started from
    return cfg


@record
def train(argv: Sequence[str] | None = None) -> None:
    """Train the model of a config file."""
    cfg = training_config(argv)
    preflight(cfg, ('train', 'val'))
    if get_device() == 'cpu':
        keep_freed_memory()
    _build_runner(cfg).train()
    _part_from_other_processes()


def _draw_predictions(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    poses = _is_for_poses(cfg)
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ValueError(
            '--show and --show-dir need default_hooks.visualization in the config: '
            f'visualization=dict(type="{"Pose" if poses else "Seg"}VisualizationHook")'
        )
    hook.update({'enable' if poses else 'draw': True, 'interval': 1})
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir and poses:
        hook.out_dir = os.path.abspath(show_dir)  # MMPose joins a relative one to itself after every batch
    elif show_dir:
        cfg.visualizer.save_dir = show_dir


def _test_evaluators(cfg: Config) -> list[dict]:
    return cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]


def _keep_predictions(cfg: Config, out_dir: str) -> None:
    """Let the metric that can write masks, or keypoints, do so."""
    metric, what = ('CocoMetric', 'keypoints') if _is_for_poses(cfg) else ('IoUMetric', 'masks')
    evaluators = [evaluator for evaluator in _test_evaluators(cfg) if type_name(evaluator).endswith(metric)]
    if not evaluators:
        raise ValueError(f'--out: a {metric} writes the {what}, and test_evaluator has none. Add dict(type="{metric}")')
    if _is_for_poses(cfg):
        evaluators[0].outfile_prefix = os.path.join(out_dir, 'predictions')
    else:
        evaluators[0].output_dir = out_dir


def _refuse_for_poses(cfg: Config, option: str, instead: str) -> None:
    if _is_for_poses(cfg):
        raise ValueError(f'{option} is for segmentation, and this config is for poses. {instead}')


def _augment(cfg: Config) -> None:
    _refuse_for_poses(cfg, '--tta', 'Leave it out: model.test_cfg.flip_test=True averages with the flipped crop.')
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise ValueError(
            f'--tta: the config has no {" and no ".join(missing)}. configs/_base_/default_runtime.py and '
            'configs/_base_/datasets/ show both.'
        )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


@record
def test(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Test the model of a config file with a checkpoint, and return its metrics."""
    parser = _parser('Test (and evaluate) a model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out',
        help='folder for the predictions: one PNG of class ids per image, or predictions.keypoints.json',
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--show-dir', help='folder for pictures: truth and prediction, in vis_data/vis_image; or one per person'
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a picture is shown')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation of segmentation: several scales, and flips'
    )
    parser.add_argument(
        '--sr-metrics',
        action='store_true',
        help='also PSNR and SSIM of the rebuilt images, and of what the network reads, enlarged',
    )
    args = parser.parse_args(argv)
    if args.tta and args.sr_metrics:
        parser.error('--sr-metrics compares one rebuilt image with one canvas: leave out --tta')
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if cfg.model.get('low_res_input'):
        raise ValueError(
            'The config is for LR frames without labels (model.low_res_input=True): there is nothing to test on. Test '
            'with the config the model was trained with; its network reads the same, reduced from canvases.'
        )
    if args.show or args.show_dir:
        _draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.out:
        _keep_predictions(cfg, args.out)
    if args.sr_metrics:
        _refuse_for_poses(cfg, '--sr-metrics', 'DSRLTopdown.reconstruct rebuilds the crops of a batch.')
        cfg.model.test_cfg.with_sr = True
        factor = cfg.model.get('scale_factor', 2)
        cfg.test_evaluator = [*_test_evaluators(cfg), dict(type='SRMetric', scale_factor=factor)]
    preflight(cfg, ('test',))
    if args.tta:
        _augment(cfg)
    cfg.custom_hooks = [*cfg.get('custom_hooks', ()), dict(type='CompleteCheckpointHook')]
    metrics = _build_runner(cfg).test()
    _part_from_other_processes()
    return metrics


def deploy(argv: Sequence[str] | None = None) -> None:
    """Write a trained model without its training-only parts."""
    parser = argparse.ArgumentParser(description='Write a model without its training-only parts')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out_dir', help='folder for deploy.py, deploy.pth and deploy.pt2')
    parser.add_argument(
        '--low-res-input', action='store_true', help='take LR frames; the mask is scale_factor times larger'
    )
    parser.add_argument('--export', nargs=2, type=int, metavar=('H', 'W'), help='export for inputs of H x W pixels')
    parser.add_argument('--fp16', action='store_true', help='half the size of deploy.pth, by float16 weights')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help=_CFG_OPTIONS_HELP)
    args = parser.parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    _refuse_for_poses(cfg, 'tools/deploy.py', 'For inference, set model.sr_aux=None and load the checkpoint as it is.')
    from .apis.deploy import save_deploy

    init_default_scope(cfg.get('default_scope', 'mmseg'))
    size = args.export and tuple(args.export)
    for file in save_deploy(cfg, args.checkpoint, args.out_dir, args.low_res_input, size, args.fp16):
        print(f'{file}  {file.stat().st_size / 2**20:.1f} MiB')
