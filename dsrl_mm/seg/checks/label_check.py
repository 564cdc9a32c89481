"""Checks of labels: class ids out of range, classes without pixels, unlabeled pixels."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmseg.registry import HOOKS
from torch import nn

from ...engine.hooks import sample_paths
from ...engine.loading import unwrapped


def no_label(phase: str, path: str) -> ValueError:
    """Say that an image has no label, and what to do."""
    needs, remedy = 'the loss needs', ''
    if phase != 'train':
        needs = 'metrics need'
        remedy = f'. To predict without labels, leave out LoadAnnotations and set {phase}_evaluator.format_only=True'
    return ValueError(
        f'{phase}_dataloader.dataset: {path} comes without a label, which {needs}: the pipeline has no '
        f'LoadAnnotations, or data_prefix no seg_map_path{remedy}.'
    )


def _count_ids(label: torch.Tensor, where: str, num_ids: int, ignored: Collection[int]) -> Counter:
    """Count the pixels of each id of a label.

    Raises:
        ValueError: if an id is neither a class nor ignored.
    """
    if label.min() >= 0 and label.max() < 2**16:
        counts = torch.bincount(label.flatten())  # many times faster than unique
        counts = Counter({i: int(counts[i]) for i in counts.nonzero().flatten().tolist()})
    else:
        counts = Counter(dict(zip(*(part.tolist() for part in label.unique(return_counts=True)))))
    if unknown := sorted(i for i in counts if not 0 <= i < num_ids and i not in ignored):
        remedy = "Correct the label, or set the data set's classes and the heads' num_classes"
        if num_ids == 1:
            remedy += ": the background is a class, too, as in classes=('background', 'object')"
        elif unknown == [num_ids] and counts[0]:
            remedy += ', or reduce_zero_label=True where 0 means unlabeled'
        raise ValueError(
            f'{where}: holds the class ids {unknown}, but the model has {num_ids} classes (0 to {num_ids - 1}) and '
            f'ignores {", ".join(map(str, sorted(ignored)))}. {remedy}.'
        )
    return counts


def check_labels(
    labels: Iterable[tuple[str, torch.Tensor]], classes: Sequence, num_ids: int, ignored: Collection[int], key: str
) -> None:
    """Check a sample of a data set's labels, and log which classes they lack and how much of them is void.

    Args:
        labels (Iterable[tuple[str, torch.Tensor]]): name and class ids (H, W) of each label, as training reads them.
        classes (Sequence): names by id.
        num_ids, ignored: ids below ``num_ids`` and those in ``ignored``, which teach nothing, are allowed.
        key (str): the data set's key in the config.

    Raises:
        ValueError: if a label holds another id.
    """
    counts, total = Counter(), 0
    for where, label in labels:
        counts += _count_ids(label, where, num_ids, ignored)
        total += 1
    if not counts:
        return
    void = sum(counts[i] for i in ignored) / counts.total()
    lacking = [str(name) for i, name in enumerate(classes) if not counts[i] or i in ignored]
    message = f'{key}: of the pixels of {total} labels, {void:.1%} are void'
    if lacking:
        more = f' and {len(lacking) - 10} more' if len(lacking) > 10 else ''
        message += f', and no pixel is of class {", ".join(lacking[:10])}{more}'
        if 255 in ignored and set(counts) == {0, 255}:
            message += '. Masks painted in 0 and 255? 255 means unlabeled: write 1 for it'
    print_log(message, 'current', logging.WARNING if lacking or void > 0.5 else logging.INFO)


def _check_sizes(preprocessor: nn.Module, images: list[torch.Tensor], paths: list[str]) -> None:
    size = getattr(preprocessor, 'size', None)
    if size is None:
        return
    padded = {tuple(max(sides) for sides in zip(size, image.shape[-2:])): path for path, image in zip(paths, images)}
    if len(padded) > 1:
        sizes = ', '.join(f'{path} is {width}x{height}' for (height, width), path in padded.items())
        raise ValueError(
            f'The images of a batch differ in size, also padded to data_preprocessor.size={tuple(size)} (height, '
            f'width): {sizes} (width x height). Crop or resize them in the pipeline, or enlarge '
            'model.data_preprocessor.size.'
        )


def _decode_head(model: nn.Module) -> nn.Module:
    """Return the head that predicts: the last one of a cascade."""
    head = model.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def check_training_batch(model: nn.Module, data_batch: dict) -> None:
    """Check the sizes of a batch from a training's data loader, and the shapes and ids of its labels.

    Raises:
        ValueError: if one is invalid; the message names the file, the fault and the remedy.
    """
    paths = sample_paths(data_batch)
    _check_sizes(model.data_preprocessor, data_batch['inputs'], paths)
    head = _decode_head(model)
    for path, image, sample in zip(paths, data_batch['inputs'], data_batch['data_samples']):
        label, where = sample.gt_sem_seg.data, sample.metainfo.get('seg_map_path', f'the label of {path}')
        if label.shape != (1, *image.shape[-2:]):
            raise ValueError(
                f'{where}: a label of shape {tuple(label.shape)} for an image of shape {tuple(image.shape)}. A '
                "label has one channel of class ids and its image's size; convert color labels to ids first."
            )
        # One channel tells two classes apart.
        num_ids = max(head.num_classes, 2 * (getattr(head, 'out_channels', 0) == 1))
        _count_ids(label, where, num_ids, {head.ignore_index})


@HOOKS.register_module(force=True)
class LabelCheckHook(Hook):
    """Hook that checks every label on the CPU, in one pass over its pixels.

    A class id out of range is undefined behavior in the loss: an assertion without a file name on a GPU, and sometimes
    no error on a CPU.
    """

    def before_train(self, runner) -> None:
        """Check that all heads ignore the same id, and that padding of labels is ignored.

        Raises:
            ValueError: if not; the message names the keys that differ.
        """
        model = unwrapped(runner.model)
        head = _decode_head(model)
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
        """Check the batch, see :func:`check_training_batch`."""
        check_training_batch(unwrapped(runner.model), data_batch)

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Check the ids of labels; metrics drop unknown ones silently."""
        self._check_evaluated(runner.val_evaluator, data_batch)

    def before_test_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Check the ids of labels; metrics drop unknown ones silently."""
        self._check_evaluated(runner.test_evaluator, data_batch)

    def _check_evaluated(self, evaluator, data_batch) -> None:
        ignored = {metric.ignore_index for metric in evaluator.metrics if hasattr(metric, 'ignore_index')}
        classes = (evaluator.dataset_meta or {}).get('classes')
        for sample in data_batch['data_samples']:
            sample = sample[0] if isinstance(sample, (list, tuple)) else sample  # test-time augmentation
            if classes and 'gt_sem_seg' in sample:
                where = sample.metainfo.get('seg_map_path', f'the label of {sample.metainfo.get("img_path")}')
                _count_ids(sample.gt_sem_seg.data, where, len(classes), ignored or {255})
