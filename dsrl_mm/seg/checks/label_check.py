"""Check of training labels for class ids out of range."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS
from torch import nn

from ...engine.hooks import sample_paths

__all__ = ['LabelCheckHook']


def _plain(model: nn.Module) -> nn.Module:
    """Return the segmentor inside a wrapper for distributed training."""
    return model.module if is_model_wrapper(model) else model


@HOOKS.register_module(force=True)
class LabelCheckHook(Hook):
    """Hook that checks every training label on the CPU, in one pass over its pixels.

    A class id out of range is undefined behavior in the loss: an assertion without a file name on a GPU, and sometimes
    no error on a CPU.
    """

    def before_train(self, runner) -> None:
        """Check that all heads ignore the same id, and that padding of labels is ignored.

        Raises:
            ValueError: if not; the message names the keys that differ.
        """
        model = _plain(runner.model)
        head = model.decode_head
        auxiliary = getattr(model, 'auxiliary_head', None) or nn.ModuleList()
        for i, other in enumerate(auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary]):
            if other.ignore_index != head.ignore_index:
                raise ValueError(
                    f'auxiliary_head {i} ignores {other.ignore_index} in labels, and decode_head {head.ignore_index}. '
                    'Set ignore_index of all heads to the same.'
                )
        padding = getattr(model.data_preprocessor, 'seg_pad_val', head.ignore_index)
        if padding >= head.num_classes and padding != head.ignore_index:
            raise ValueError(
                f'data_preprocessor.seg_pad_val={padding} is neither a class nor ignored: the heads have '
                f'ignore_index={head.ignore_index}. Set seg_pad_val to that.'
            )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Check the shapes and ids of labels.

        Raises:
            ValueError: if one is invalid; the message names the file, the fault and the remedy.
        """
        head = _plain(runner.model).decode_head
        for path, image, sample in zip(sample_paths(data_batch), data_batch['inputs'], data_batch['data_samples']):
            label, where = sample.gt_sem_seg.data, sample.metainfo.get('seg_map_path', f'the label of {path}')
            if label.shape != (1, *image.shape[-2:]):
                raise ValueError(
                    f'{where}: a label of shape {tuple(label.shape)} for an image of shape {tuple(image.shape)}. A '
                    "label has one channel of class ids and its image's size; convert colour labels to ids first."
                )
            present = torch.bincount(label.flatten()).nonzero().flatten().tolist()
            unknown = [i for i in present if i >= head.num_classes and i != head.ignore_index]
            if unknown:
                raise ValueError(
                    f'{where}: holds the class ids {unknown}, but the model has {head.num_classes} classes (0 to '
                    f"{head.num_classes - 1}) and ignores {head.ignore_index}. Correct the label, set the heads' "
                    'num_classes, or reduce_zero_label=True where 0 is the background.'
                )
