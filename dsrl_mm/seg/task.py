"""Segmentation task of the commands."""

import os
from typing import Any

from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS, MODELS
from torch import nn

from ..engine.config import builds, input_channels, plain_datasets, test_pipeline, type_name
from ..engine.loading import for_inference
from ..engine.metrics import with_sr_metric
from ..engine.optional import optional
from ..engine.task import Task, evaluators, prediction_writer, visualization_hook
from .checks.batch import check_batch
from .checks.data import check_data
from .segmentor import DSRLSegmentor


def image_root(cfg: Config) -> str | None:
    """Return the folder that holds all test images; None if a data set names none."""
    roots = [
        os.path.abspath(os.path.join(dataset.get('data_root') or '', (dataset.data_prefix or {}).get('img_path') or ''))
        for _, dataset in plain_datasets(cfg.get('test_dataloader') or {}, 'test_dataloader', 'data_prefix')
    ]
    return os.path.commonpath(roots) if roots else None


class SegTask(Task):
    """Task of configs with ``default_scope='mmseg'``."""

    def check_data(self, cfg: Config, phases: tuple[str, ...]) -> None:
        """Check packages, folders, images and labels, see :mod:`dsrl_mm.seg.checks`.

        Raises:
            ImportError: if a package that the backbone needs is missing.
            ValueError: if the model reads low-resolution frames, which have no labels.
        """
        if cfg.get('model', {}).get('low_res_input'):
            raise ValueError(
                'The config is for low-resolution frames without labels (model.low_res_input=True), so there is '
                'nothing to train or test on. Use the config that the model was trained with: its network reads the '
                'same, reduced from canvases.'
            )
        if type_name(cfg.get('model', {}).get('backbone', {})) == 'TIMMBackbone':
            optional('timm', 'timm')
        check_data(cfg, phases)

    def check_batch(self, cfg: Config, phase: str, model: nn.Module | None, batch: Any) -> None:
        """Check labels and sizes, see :mod:`dsrl_mm.seg.checks.batch`."""
        check_batch(cfg, phase, model, batch)

    def network_input(self, cfg: Config) -> tuple[int, int, int]:
        """Return channels, height and width of the network input: ``crop_size`` over ``scale_factor``, rounded up.

        Raises:
            ValueError: if the config has no ``crop_size``.
        """
        if not (canvas := cfg.get('crop_size')):
            raise ValueError(f'{cfg.filename} has no crop_size: set it to height and width of the canvas')
        height, width = (-(-side // self.reduction(cfg)) for side in canvas)
        return input_channels(cfg.model.backbone), height, width

    def reduction(self, cfg: Config) -> int:
        """Return the side of the canvas over that of the network input; 1 for a model that does not reduce it."""
        return cfg.model.get('scale_factor', 2) if builds(cfg.model, MODELS, DSRLSegmentor) else 1

    def reads_frames(self, cfg: Config) -> bool:
        """Return whether the model is a DSRLSegmentor."""
        return builds(cfg.model, MODELS, DSRLSegmentor)

    def draw_predictions(self, cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
        hook = visualization_hook(cfg, 'SegVisualizationHook')
        hook.update(draw=True, interval=1, show=show, wait_time=wait_time)
        if show_dir:
            cfg.visualizer.save_dir = show_dir

    def keep_predictions(self, cfg: Config, out_dir: str) -> None:
        """Write one PNG of class ids per image, in the images' sub-folders."""
        writer = prediction_writer(cfg, METRICS, IoUMetric, 'masks')
        writer.output_dir = out_dir
        if type_name(writer) in ('IoUMetric', 'ClassIoUMetric'):
            writer.type = 'ClassIoUMetric'
            writer.image_root = image_root(cfg)

    def use_tta(self, cfg: Config) -> None:
        """Average the predictions of several scales and flips.

        Raises:
            ValueError: if the config has no ``tta_model`` or ``tta_pipeline``.
        """
        missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
        if missing:
            raise ValueError(
                f'--tta: the config has no {" and no ".join(missing)}. configs/_base_/default_runtime.py and '
                'configs/_base_/datasets/ show both.'
            )
        for _, dataset in plain_datasets(cfg.test_dataloader, 'test_dataloader', 'pipeline'):
            dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(cfg.tta_model, module=cfg.model)

    def use_sr_metrics(self, cfg: Config) -> None:
        """Measure PSNR and SSIM of the rebuilt images and of the enlarged network input."""
        cfg.model.setdefault('test_cfg', {})['with_sr'] = True
        cfg.test_evaluator = with_sr_metric([*evaluators(cfg).values()], self.reduction(cfg))

    def use_bfloat16(self, cfg: Config) -> None:
        """Do nothing: a segmentor's whole step works in bfloat16."""

    def deploy_config(self, cfg: Config, low_res_input: bool) -> Config:
        """Copy a config without the training-only parts of its model; with ``low_res_input``, without data sets.

        Raises:
            ValueError: for ``low_res_input``, if the model does not read low-resolution frames.
        """
        reads_frames = self.reads_frames(cfg)
        if low_res_input and not reads_frames:
            raise ValueError(
                f'model.type is {type_name(cfg.model)!r}, which reads the whole canvas: no low_res_input. Only a '
                'DSRLSegmentor reads low-resolution frames. A baseline is a DSRLSegmentor with a stock decode head.'
            )
        cfg = Config(cfg.to_dict())
        cfg.model = for_inference(cfg.model) | (dict(low_res_input=low_res_input) if reads_frames else {})
        cfg.model.setdefault('test_cfg', {}).pop('with_sr', None)  # the SISR branch is gone
        if low_res_input:
            _read_frames(cfg)
        return cfg


def _read_frames(cfg: Config) -> None:
    """Turn a config for canvases into one for low-resolution frames."""
    cfg.model.test_cfg = dict(mode='whole')
    # A preprocessor that pads test images to the canvas pads frames to what the network reads of it.
    padding = cfg.model.get('data_preprocessor', {}).get('test_cfg') or {}
    if 'size' in padding:
        padding.size = tuple(-(-side // cfg.model.get('scale_factor', 2)) for side in padding.size)
    pipeline = _inference_pipeline(cfg)
    # The data sets hold canvases, so there is nothing to train or test on.
    for key in [key for key in cfg if key.startswith(('train_', 'val_', 'test_', 'tta_'))]:
        cfg.pop(key)
    cfg.test_pipeline = pipeline
    cfg.test_dataloader = dict(dataset=dict(pipeline=pipeline))  # where MMSegInferencer looks


def _inference_pipeline(cfg: Config) -> list[dict]:
    """Return the config's own image loading, without steps that resize or need labels."""
    steps = [step for step in test_pipeline(cfg) if type_name(step).startswith('Load')]
    loading = [step for step in steps if 'Annotation' not in type_name(step)]
    return [*(loading or [dict(type='LoadImageFromFile')]), dict(type='PackSegInputs')]
