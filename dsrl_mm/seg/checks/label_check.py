"""Labels the classes do not know, found at the first batch that holds one."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS
from torch import nn

from ...engine.hooks import sample_paths

__all__ = ['LabelCheckHook']


def _plain(model: nn.Module) -> nn.Module:
    """The segmentor inside a wrapper for several processes."""
    return model.module if is_model_wrapper(model) else model


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Checks every training label on the CPU, before it goes to the device: one pass over the pixels.

    A class id outside the model's classes is undefined behaviour in the loss: on a GPU an assertion without a file
    name, on a CPU sometimes nothing at all.
    """

    def before_train(self, runner) -> None:
        """Check that what fills up labels is ignored, and by every head alike.

        Raises:
            ValueError: naming the keys that differ.
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
        """Check the labels' shapes and ids.

        Raises:
            ValueError: naming the file, what is wrong with its label, and the remedy.
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
