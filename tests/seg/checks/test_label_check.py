"""Labels with ids that the classes do not have, or of another shape than their image."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.structures import PixelData
from toy import NUM_CLASSES, auxiliary_head_cfg, batch, build, head_cfg, model_cfg, preprocessor_cfg

from dsrl_mm.seg import LabelCheckHook


@pytest.fixture(scope='module', params=[True, False], ids=['DSRL', 'baseline'])
def runner(request):
    return SimpleNamespace(model=build(model_cfg(dsrl=request.param)))


def check(runner, data: dict) -> None:
    LabelCheckHook().before_train_iter(runner, 0, data)


def test_classes_and_void_pass(runner):
    data = batch()
    present = set(torch.stack([sample.gt_sem_seg.data for sample in data['data_samples']]).flatten().tolist())
    assert present == {*range(NUM_CLASSES), 255}
    check(runner, data)


def test_an_unknown_id_is_named_with_its_file(runner):
    data = batch()
    sample = data['data_samples'][1]
    sample.gt_sem_seg.data[0, 3, 4] = NUM_CLASSES
    sample.gt_sem_seg.data[0, 3, 5] = 254
    sample.set_metainfo(dict(seg_map_path='labels/1.png'))
    with pytest.raises(
        ValueError, match=r'^labels/1.png: holds the class ids \[5, 254\], but the model has 5 classes '
    ):
        check(runner, data)


def test_the_image_is_named_where_the_label_has_no_file(runner):
    data = batch()
    data['data_samples'][0].gt_sem_seg.data[0, 0, 0] = 99
    with pytest.raises(ValueError, match=r'^the label of 0.png: holds .*Correct the label'):
        check(runner, data)


@pytest.mark.parametrize('shape', [(1, 24, 32), (3, 48, 64)], ids=['another size', 'three channels'])
def test_another_shape_is_refused(runner, shape):
    data = batch()
    data['data_samples'][0].gt_sem_seg = PixelData(data=torch.zeros(shape, dtype=torch.long))
    with pytest.raises(ValueError, match=r'0.png: a label of shape .* for an image of shape \(3, 48, 64\)'):
        check(runner, data)


def start(void: int, auxiliary: int, padding: int) -> None:
    model = build(
        model_cfg(
            head=head_cfg(ignore_index=void),
            auxiliary_head=[auxiliary_head_cfg(ignore_index=void), auxiliary_head_cfg(ignore_index=auxiliary)],
            data_preprocessor=preprocessor_cfg(seg_pad_val=padding),
        )
    )
    LabelCheckHook().before_train(SimpleNamespace(model=model))


def test_all_heads_ignore_the_same_and_what_fills_up_labels():
    start(void=5, auxiliary=5, padding=5)
    start(void=255, auxiliary=255, padding=0)  # fills up with a class: unusual, but it is one
    with pytest.raises(ValueError, match='auxiliary_head 1 ignores 255 in labels, and decode_head 5. Set ignore_index'):
        start(void=5, auxiliary=255, padding=5)
    with pytest.raises(ValueError, match='seg_pad_val=255 is neither a class nor ignored: .* ignore_index=5. Set'):
        start(void=5, auxiliary=5, padding=255)


def test_looks_into_a_distributed_model(runner, monkeypatch):
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    torch.nn.Module.__init__(wrapper)
    wrapper.module = runner.model
    data = batch()
    check(SimpleNamespace(model=wrapper), data)
    data['data_samples'][0].gt_sem_seg.data[0, 0, 0] = 99
    with pytest.raises(ValueError, match=r'\[99\]'):
        check(SimpleNamespace(model=wrapper), data)
