"""The command lines behind ``tools/train.py`` and ``tools/test.py``: MMSegmentation's, with its options."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

__all__ = ['load_config', 'test', 'train', 'use_amp']

_CFG_OPTIONS_HELP = ('settings that override the config\'s, as key=value with dots: data.x=1. Lists as "[a,b]" or a,b; '
                     'nested ones as "[(a,b),(c,d)]", quoted and without spaces')


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
    Runner.from_cfg(cfg).train()
