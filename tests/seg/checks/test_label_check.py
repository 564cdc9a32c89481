"""Labels with ids that the classes do not have, or of another shape than their image."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from toy import NUM_CLASSES, auxiliary_head_cfg, batch, build, head_cfg, model_cfg, preprocessor_cfg

from dsrl_mm.seg import LabelCheckHook
from dsrl_mm.seg.checks.label_check import check_labels


@pytest.fixture(scope='module')
def runner():
    return SimpleNamespace(model=build(model_cfg()))


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


def test_one_channel_tells_two_classes():
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    runner = SimpleNamespace(model=build(model_cfg(False, head_cfg('FCNHead', num_classes=1, loss_decode=loss))))
    check(runner, batch(classes=2))
    with pytest.raises(ValueError, match=r'holds the class ids \[2\]'):
        check(runner, batch(classes=3))


def test_sizes_may_differ_within_what_they_are_padded_to(runner):
    tall, wide = batch((48, 40), n=1), batch((40, 64), n=1)
    check(runner, {key: tall[key] + wide[key] for key in tall})
    wider = batch((40, 65), n=1)
    with pytest.raises(ValueError, match=r'differ in size, also padded to .*size=\(48, 64\).* is 65x48'):
        check(runner, {key: tall[key] + wider[key] for key in tall})


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


def sampled(*labels: list[int], classes: tuple[str, ...] = ('background', 'object'), ignored: tuple[int, ...] = (255,)):
    check_labels([('x.png', torch.tensor([ids])) for ids in labels], classes, len(classes), ignored, 'train')


@pytest.mark.parametrize(
    ('labels', 'line'),
    [
        ([[0, 1, 1, 255]], 'train: of the pixels of 1 labels, 25.0% are void'),
        ([[0, 0], [1, 1]], 'train: of the pixels of 2 labels, 0.0% are void'),
        ([[0, 0], [0, 0]], 'train: of the pixels of 2 labels, 0.0% are void, and no pixel is of class object'),
        (
            [[255, 255]],
            'train: of the pixels of 1 labels, 100.0% are void, and no pixel is of class background, object',
        ),
    ],
)
def test_what_a_sample_teaches_is_logged(log, labels, line):
    sampled(*labels)
    assert log == [line]


def test_masks_painted_in_0_and_255_are_recognized(log):
    sampled([0, 255])
    assert log[0].endswith(
        'no pixel is of class object. Masks painted in 0 and 255? 255 means unlabeled: write 1 for it'
    )


@pytest.mark.parametrize(
    ('labels', 'classes', 'remedy'),
    [
        ([0, 1, 2], ('a', 'b'), ', or reduce_zero_label=True where 0 means unlabeled.'),
        ([0, 1, 3], ('a', 'b'), 'num_classes.'),
        ([1, 1, 2], ('a', 'b'), 'num_classes.'),  # nothing is 0
        ([0, 1], ('a',), "the background is a class, too, as in classes=('background', 'object')."),
    ],
)
def test_a_remedy_does_no_harm(labels, classes, remedy):
    with pytest.raises(ValueError) as error:
        sampled(labels, classes=classes)
    assert str(error.value).endswith(remedy)


def test_ids_may_be_negative_and_large(log):
    sampled([-1, 0, 1, 2**40], ignored=(-1, 2**40))
    sampled([1, 0, 1, 2**40], ignored=(2**40,))
    assert log == [f'train: of the pixels of 1 labels, {void}% are void' for void in (50.0, 25.0)]


@pytest.mark.parametrize(('classes', 'lacking'), [('abcdefghijk', 'k'), ('abcdefghijkl', 'k and 1 more')])
def test_ten_classes_are_named(log, classes, lacking):
    sampled([0], classes=tuple(classes))
    assert log[0].endswith(f'no pixel is of class b, c, d, e, f, g, h, i, j, {lacking}')


def test_a_class_that_is_ignored_is_lacking(log):
    sampled([0, 1], ignored=(1,))
    assert log == ['train: of the pixels of 1 labels, 50.0% are void, and no pixel is of class object']


@pytest.mark.parametrize('hook', ['val', 'test'])
def test_evaluated_labels_are_checked(hook):
    evaluator = SimpleNamespace(metrics=[SimpleNamespace(ignore_index=7)], dataset_meta=dict(classes=('a', 'b')))
    runner = SimpleNamespace(**{f'{hook}_evaluator': evaluator})
    sample = batch()['data_samples'][0]
    sample.gt_sem_seg = PixelData(data=torch.tensor([[[0, 7, 7]]]))
    sample.set_metainfo(dict(seg_map_path='labels/0.png'))
    check = getattr(LabelCheckHook(), f'before_{hook}_iter')
    check(runner, 0, dict(data_samples=[sample]))
    check(runner, 0, dict(data_samples=[[sample, sample]]))  # test-time augmentation
    sample.gt_sem_seg.data[0, 0, 2] = 255
    for samples in ([sample], [[sample, sample]]):
        with pytest.raises(ValueError, match=r'^labels/0.png: holds the class ids \[255\].* and ignores 7'):
            check(runner, 0, dict(data_samples=samples))
    evaluator.metrics = [SimpleNamespace()]  # which ignores nothing itself
    sample.gt_sem_seg.data[0, 0, 1] = 255
    check(runner, 0, dict(data_samples=[sample]))
