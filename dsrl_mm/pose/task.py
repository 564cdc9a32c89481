"""Pose estimation task of the commands."""

import os
from typing import Any, NoReturn

from mmengine.config import Config
from mmpose.evaluation import CocoMetric
from mmpose.registry import METRICS, MODELS
from torch import nn

from ..engine.config import builds, input_channels
from ..engine.loading import for_inference
from ..engine.task import Task, prediction_writer, visualization_hook
from .estimator import DSRLTopdown
from .preflight import check_batch, check_data


def _refuse(option: str, instead: str) -> NoReturn:
    raise ValueError(f'{option} is for segmentation, and this config is for poses. {instead}')


class PoseTask(Task):
    """Task of configs with ``default_scope='mmpose'``."""

    def check_data(self, cfg: Config, phases: tuple[str, ...]) -> None:
        """Check annotations and images, see :mod:`dsrl_mm.pose.preflight`."""
        check_data(cfg, phases)

    def check_batch(self, cfg: Config, phase: str, model: nn.Module | None, batch: Any) -> None:
        """Check the size of the crops."""
        check_batch(cfg, phase, batch)

    def network_input(self, cfg: Config) -> tuple[int, int, int]:
        """Return channels, height and width of the network input: the codec's ``input_size`` over ``scale_factor``."""
        width, height = (side // self.reduction(cfg) for side in cfg.model.head.decoder.input_size)
        return input_channels(cfg.model.backbone), height, width

    def reduction(self, cfg: Config) -> int:
        """Return the side of the canvas over that of the network input; 1 for a model that does not reduce it."""
        return cfg.model.get('scale_factor', 2) if builds(cfg.model, MODELS, DSRLTopdown) else 1

    def reads_frames(self, cfg: Config) -> bool:
        """Return False: keypoints are decoded for the canvas."""
        return False

    def draw_predictions(self, cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
        hook = visualization_hook(cfg, 'PoseVisualizationHook')
        hook.update(enable=True, interval=1, show=show, wait_time=wait_time)
        if show_dir:
            hook.out_dir = os.path.abspath(show_dir)  # MMPose joins a relative one to itself after every batch

    def keep_predictions(self, cfg: Config, out_dir: str) -> None:
        """Write ``predictions.keypoints.json``, in COCO's format."""
        writer = prediction_writer(cfg, METRICS, CocoMetric, 'keypoints')
        writer.outfile_prefix = os.path.join(out_dir, 'predictions')

    def use_tta(self, cfg: Config) -> None:
        _refuse('--tta', 'Leave it out: model.test_cfg.flip_test=True averages with the flipped crop.')

    def use_sr_metrics(self, cfg: Config) -> None:
        _refuse('--sr-metrics', 'DSRLTopdown.reconstruct rebuilds the crops of a batch.')

    def deploy_config(self, cfg: Config, low_res_input: bool) -> Config:
        """Copy a config without the training-only parts of its model.

        Raises:
            ValueError: for ``low_res_input``: keypoints are decoded for the canvas.
        """
        if low_res_input:
            _refuse('--low-res-input', 'Leave it out: the network reduces the crops itself.')
        cfg = Config(cfg.to_dict())
        cfg.model = for_inference(cfg.model)
        return cfg

    def use_bfloat16(self, cfg: Config) -> None:
        """Do not log ``acc_pose``: MMPose computes it in NumPy, which has no bfloat16."""
        cfg.model.train_cfg = dict(cfg.model.get('train_cfg') or {}, compute_acc=False)
