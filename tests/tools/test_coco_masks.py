"""The converter of COCO's objects to masks, on made-up annotations."""

import json

import cv2
import numpy as np
import pytest

from tools.dataset_converters.coco_masks import convert, draw, main


def polygon(*points, category=1, image=7, **others) -> dict:
    segmentation = [[float(value) for point in points for value in point]]
    return dict(segmentation=segmentation, iscrowd=0, category_id=category, image_id=image) | others


def crowd(counts, size) -> dict:
    return dict(segmentation=dict(counts=counts, size=size), iscrowd=1, category_id=1, image_id=7)


SQUARE = polygon((1, 1), (3, 1), (3, 2), (1, 2))


def test_polygons_are_filled():
    expected = np.zeros((4, 6), np.uint8)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(draw([SQUARE], (4, 6)), expected)


def test_overlapping_parts_of_an_object_are_not_cut_out():
    object_ = dict(SQUARE, segmentation=SQUARE['segmentation'] * 2)
    np.testing.assert_array_equal(draw([object_], (4, 6)), draw([SQUARE], (4, 6)))


def test_crowds_are_void_and_objects_in_them_are_not():
    """Run lengths go down columns: 4 of the first column are background, then 8 are the crowd."""
    expected = np.zeros((4, 6), np.uint8)
    expected[:, 1:3] = 255
    expected[1:3, 1:4] = 1
    for annotations in ([crowd([4, 8, 12], [4, 6]), SQUARE], [SQUARE, crowd([4, 8, 12], [4, 6])]):
        np.testing.assert_array_equal(draw(annotations, (4, 6)), expected)


@pytest.fixture
def annotations(tmp_path):
    images = [dict(id=i, file_name=f'{i:03d}.jpg', height=4, width=6) for i in (7, 8, 9)]
    coco = dict(
        images=images,
        categories=[dict(id=1, name='person'), dict(id=2, name='dog')],
        annotations=[SQUARE, polygon((0, 0), (5, 0), (5, 3), (0, 3), category=2, image=8)],
    )
    (tmp_path / 'train.json').write_text(json.dumps(coco))
    (tmp_path / 'val.json').write_text(json.dumps(coco | dict(annotations=[dict(SQUARE, image_id=9)])))
    return tmp_path


def test_images_that_show_the_category_get_masks(annotations, capsys):
    main([str(annotations / 'train.json'), str(annotations / 'val.json'), str(annotations / 'out')])
    assert capsys.readouterr().out.endswith('out: 1 train, 1 val masks\n')
    out = annotations / 'out'
    assert sorted(path.name for path in (out / 'masks').iterdir()) == ['007.png', '009.png']
    assert (out / 'train.txt').read_text() == '007\n' and (out / 'val.txt').read_text() == '009\n'
    mask = cv2.imread(str(out / 'masks' / '007.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, draw([SQUARE], (4, 6)))


def test_an_unknown_category_is_refused(annotations):
    files = annotations / 'train.json', annotations / 'val.json', annotations / 'out'
    with pytest.raises(ValueError, match="train.json: has no category 'cat', but person, dog"):
        convert(*files, category='cat')
