"""The command lines behind ``tools/train.py`` and ``tools/test.py``: MMSegmentation's, with its options."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

__all__ = ['deploy', 'load_config', 'test', 'train', 'use_amp']

_CFG_OPTIONS_HELP = (
    'settings that override the config\'s, as key=value with dots: data.x=1. Lists as "[a,b]" or a,b; '
    'nested ones as "[(a,b),(c,d)]", quoted and without spaces'
)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs, checkpoints and results go (work_dirs/CONFIG_NAME)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help=_CFG_OPTIONS_HELP)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
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
    if not torch.cuda.is_available() and cfg.launcher != 'none':
        cfg.env_cfg.dist_cfg.backend = 'gloo'
    return cfg


def use_amp(cfg: Config) -> None:
    """Turn on mixed precision: float16 with loss scaling where there is CUDA, bfloat16 elsewhere."""
    wrapper = cfg.optim_wrapper.setdefault('type', 'OptimWrapper')
    if wrapper in ('AmpOptimWrapper', 'BFloat16OptimWrapper'):
        return
    if wrapper != 'OptimWrapper':
        raise ValueError(f'--amp replaces optim_wrapper.type="OptimWrapper", but the config has "{wrapper}"')
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'


def _preflight(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the config and its data, once for all processes."""
    if cfg.get('default_scope') == 'mmseg' and int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0:
        from .seg.preflight import check_data

        check_data(cfg, phases)


def train(argv: Sequence[str] | None = None) -> None:
    """Train the model of a config file."""
    parser = _parser('Train a model')
    parser.add_argument('--resume', action='store_true', help='continue from the last checkpoint in the work dir')
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on CUDA, bfloat16 on CPUs')
    args = parser.parse_args(argv)
    cfg = load_config(args)
    if args.amp:
        use_amp(cfg)
    cfg.resume = args.resume
    _preflight(cfg, ('train', 'val'))
    Runner.from_cfg(cfg).train()


def _draw_predictions(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ValueError(
            '--show and --show-dir need default_hooks.visualization in the config: '
            'visualization=dict(type="SegVisualizationHook")'
        )
    hook.draw = True
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def _keep_masks(cfg: Config, out_dir: str) -> None:
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    for evaluator in evaluators:
        if evaluator.type == 'IoUMetric':
            evaluator.update(output_dir=out_dir, keep_results=True)


def test(argv: Sequence[str] | None = None) -> None:
    """Test the model of a config file with a checkpoint."""
    parser = _parser('Test (and evaluate) a model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the predicted masks, one PNG of class ids per image')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of truth and prediction')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a picture is shown')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation: several scales, and flips')
    parser.add_argument('--sr-metrics', action='store_true', help='also PSNR and SSIM of the rebuilt images')
    args = parser.parse_args(argv)
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.tta and args.sr_metrics:
        parser.error('--sr-metrics compares one rebuilt image with one canvas: leave out --tta')
    if args.show or args.show_dir:
        _draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.out:
        _keep_masks(cfg, args.out)
    if args.sr_metrics:
        cfg.model.test_cfg.with_sr = True
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='SRMetric')]
    _preflight(cfg, ('test',))
    if args.tta:
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    cfg.default_hooks.load_check = dict(type='CompleteCheckpointHook')
    Runner.from_cfg(cfg).test()


def deploy(argv: Sequence[str] | None = None) -> None:
    """Write a trained model without its training-only parts."""
    parser = argparse.ArgumentParser(description='Write a model without its training-only parts')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out_dir', help='folder for deploy.py, deploy.pth and deploy.pt2')
    parser.add_argument('--lr-input', action='store_true', help='take LR frames; the mask is scale_factor times larger')
    parser.add_argument('--export', nargs=2, type=int, metavar=('H', 'W'), help='export for inputs of H x W pixels')
    args = parser.parse_args(argv)
    from mmengine.registry import init_default_scope

    from .seg.deploy import save_deploy

    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for file in save_deploy(cfg, args.checkpoint, args.out_dir, args.lr_input, args.export and tuple(args.export)):
        print(f'{file}  {file.stat().st_size / 2**20:.1f} MiB')
