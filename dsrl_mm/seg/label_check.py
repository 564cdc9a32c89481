"""Labels the classes do not know, found at the first batch that holds one."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS

from ..core.hooks import sample_paths

__all__ = ['LabelCheckHook']


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Checks every training label on the CPU, before it goes to the device: one pass over the pixels.

    A class id outside the model's classes is undefined behaviour in the loss: on a GPU an assertion without a file
    name, on a CPU sometimes nothing at all.
    """

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Check the labels' shapes and ids.

        Raises:
            ValueError: naming the file, what is wrong with its label, and the remedy.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head = model.decode_head
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
