"""Data sets of several roots."""

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image

import dsrl_mm.uhr  # noqa: F401  (registers)


@pytest.fixture
def data_root(tmp_path):
    """Root one: a.jpg and b.png; root two: a.jpg."""
    for root, names in (('one', ('a.jpg', 'b.png')), ('two', ('a.jpg',))):
        for name in names:
            for kind, file in (('image', name), ('mask', f'{name[0]}.png')):
                path = tmp_path / root / kind / file
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)
    return tmp_path


def build(data_root, **options):
    cfg = dict(type='SaliencyDataset', data_root=str(data_root), pipeline=[], _scope_='mmseg')
    return DATASETS.build(cfg | options)


def listed(dataset, key='img_path'):
    root = f'{dataset.data_root}/'
    return [info[key].removeprefix(root) for info in dataset]


def test_roots_and_repeats(data_root):
    dataset = build(data_root, roots=['one', 'two'], repeats=[1, 3])
    assert listed(dataset) == ['one/image/a.jpg', 'one/image/b.png'] + 3 * ['two/image/a.jpg']
    assert listed(dataset, 'seg_map_path') == ['one/mask/a.png', 'one/mask/b.png'] + 3 * ['two/mask/a.png']
    assert dataset.metainfo['classes'] == ('background', 'object')


def test_the_root_alone(data_root):
    assert listed(build(data_root / 'two')) == ['image/a.jpg']
    assert listed(build(data_root, roots='two')) == ['two/image/a.jpg']


def test_hidden_files_are_no_images(data_root):
    (data_root / 'two/image/._a.jpg').write_bytes(b'of macOS')
    assert listed(build(data_root, roots=['two'])) == ['two/image/a.jpg']


def test_images_without_masks(data_root):
    (data_root / 'one/mask/b.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'image/b.png has no mask of its name in .*one/mask; so have 1 of 2'):
        build(data_root, roots=['one'])
    alone = build(data_root, roots=['one'], data_prefix=dict(img_path='image'))
    assert len(alone) == 2 and 'seg_map_path' not in alone[0]


def test_two_images_of_one_name(data_root):
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(data_root / 'one/image/a.png')
    with pytest.raises(ValueError, match=r'one/image/a.jpg and .*one/image/a.png are two images of one name'):
        build(data_root, roots=['one'])


def test_missing_folders(data_root):
    with pytest.raises(FileNotFoundError, match='three/image does not exist'):
        build(data_root, roots=['three'])


@pytest.mark.parametrize('repeats', [[1], [1, 0], [1, 2.0]])
def test_repeats_must_fit(data_root, repeats):
    with pytest.raises(ValueError, match=r'repeats=.* for each of roots='):
        build(data_root, roots=['one', 'two'], repeats=repeats)
