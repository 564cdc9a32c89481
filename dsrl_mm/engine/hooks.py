"""Hooks that stop training at invalid losses or weights."""

from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

#: Float32 is so coarse beyond it (steps of 8) that a parameter cannot be trained. Buffers may hold any number.
_UNTRAINABLE = 1e8


def sample_paths(data_batch: dict) -> list[str]:
    """Return the image files of a batch from a data loader."""
    return [str(sample.metainfo.get('img_path', '(not from a file)')) for sample in data_batch['data_samples']]


def _remedy(runner) -> str:
    saved = any(Path(runner.work_dir).glob('*.pth'))
    return (
        f'{"Earlier checkpoints are" if saved else "No checkpoint was saved before"} in {runner.work_dir}. Lower the '
        'learning rate, clip gradients (optim_wrapper.clip_grad) or, with float16, use bfloat16.'
    )


@HOOKS.register_module(force=True)
class NonFiniteLossHook(Hook):
    """Hook that stops training at the first NaN or infinite loss, with its name and the batch's files.

    It runs before the checkpoint hook, so the weights of that step are not saved. Weights are also checked before they
    are saved, because gradients may be NaN where the loss was finite.
    """

    priority = 'HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Check all losses, with one synchronization of the device.

        Raises:
            FloatingPointError: if any is NaN or infinite.
        """
        losses = {name: value for name, value in outputs.items() if 'loss' in name}
        finite = torch.stack([torch.isfinite(value.detach()).all() for value in losses.values()])
        if finite.all():
            return
        bad = {name: float(value.detach()) for (name, value), ok in zip(losses.items(), finite) if not ok}
        if len(bad) > 1:
            bad.pop('loss', None)  # the sum of the others
        raise FloatingPointError(
            f'Iteration {runner.iter + 1}: {", ".join(f"{name} is {value}" for name, value in bad.items())} for the '
            f'images {sample_paths(data_batch)}. Look at these and their labels first. {_remedy(runner)}'
        )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Check the weights that are about to be saved.

        Raises:
            FloatingPointError: if any is NaN or infinite, or a parameter so large that the training has diverged.
        """
        parameters = {name.removeprefix('module.') for name, _ in runner.model.named_parameters()}
        weights = {name: value for name, value in checkpoint['state_dict'].items() if value.is_floating_point()}
        if bad := [
            name
            for name, value in weights.items()
            if not value.isfinite().all() or (name in parameters and (value.abs() > _UNTRAINABLE).any())
        ]:
            raise FloatingPointError(
                f'{len(bad)} weights are NaN, infinite or beyond {_UNTRAINABLE:.0e}, {bad[0]} for one; they are not '
                f'saved. {_remedy(runner)}'
            )
