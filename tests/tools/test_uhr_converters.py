"""Converters of DeepGlobe, Inria Aerial and saliency data sets, on made-up images of a few pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsrl_mm.uhr.datasets import DeepGlobeDataset, InriaAerialDataset, SaliencyDataset
from tools.dataset_converters import deepglobe, inria_aerial, saliency

SIZE = (4, 6)


def save(pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


class TestDeepGlobe:
    @pytest.fixture
    def release(self, tmp_path):
        """One image of each split: 100694 trains, 10452 tests, and 7 is on neither list."""
        for name in ('100694', '10452', '7'):
            save(np.full((4, 6, 3), 9), tmp_path / f'release/{name}_sat.jpg')
            colors = np.zeros((4, 6, 3))
            colors[0] = [(0, 0, 0), (0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255)]
            colors[1] = (255, 255, 255)
            colors[2] = (127, 128, 140)  # of a lossy copy: urban
            save(colors, tmp_path / f'release/{name}_mask.png')
        return tmp_path / 'release'

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(deepglobe, 'COUNTS', dict(train=1, val=1, test=1))
        monkeypatch.setattr(deepglobe, 'SIZE', SIZE)

    def convert(self, release):
        return deepglobe.convert(release, release.parent / 'out', workers=1)

    def test_ids_and_layout(self, release, tmp_path):
        assert self.convert(release) == dict(train=1, val=1, test=1)
        for split, name in (('train', '100694'), ('test', '10452'), ('val', '7')):
            ids = read(tmp_path / f'out/labels/{split}/{name}_mask.png')
            assert ids.tolist() == [[*range(6)], [6] * 6, [1] * 6, [0] * 6]
            copy = tmp_path / f'out/images/{split}/{name}_sat.jpg'
            assert copy.read_bytes() == (release / copy.name).read_bytes()
        prefix = dict(img_path='images/val', seg_map_path='labels/val')
        (info,) = DeepGlobeDataset(data_root=str(tmp_path / 'out'), data_prefix=prefix, pipeline=[])
        assert Path(info['seg_map_path']) == tmp_path / 'out/labels/val/7_mask.png'

    def test_glnets_lists(self, monkeypatch):
        monkeypatch.undo()
        names = [*(deepglobe.SPLITS / 'deepglobe_train.txt').read_text().split(), 'of none']
        names += (deepglobe.SPLITS / 'deepglobe_test.txt').read_text().split()
        splits = [*deepglobe.splits(names).values()]
        assert [splits.count(split) for split in ('train', 'test', 'val')] == [454, 142, 1]
        assert sum(deepglobe.COUNTS.values()) == 803
        assert deepglobe.splits(['855', '606']) == {'855': 'train', '606': 'test'}

    def test_a_color_of_no_class(self, release, tmp_path):
        save(np.full((4, 6, 3), (200, 10, 10)), release / '7_mask.png')
        with pytest.raises(ValueError, match=r'7_mask.png: the color \(200, 10, 10\) at row 0, column 0 is none of'):
            self.convert(release)
        assert {path.split('/')[1] for path in files(tmp_path / 'out')} == {'train', 'test'}

    def test_nothing_is_written_of_an_incomplete_release(self, release, tmp_path, monkeypatch):
        monkeypatch.setattr(deepglobe, 'SIZE', (2448, 2448))
        with pytest.raises(ValueError, match=r'_sat.jpg is 6x4 pixels .* all images of the release are 2448x2448'):
            self.convert(release)
        monkeypatch.setattr(deepglobe, 'COUNTS', dict(train=454, val=207, test=142))
        with pytest.raises(
            ValueError, match="has {'train': 1, 'test': 1, 'val': 1} labeled images, but .*'train': 454"
        ):
            self.convert(release)
        (release / '7_sat.jpg').unlink()
        with pytest.raises(FileNotFoundError, match=r'images ID_sat.jpg: missing are 7 \(1 in all\)'):
            self.convert(release)
        assert not (tmp_path / 'out').exists()


@pytest.fixture(scope='module')
def inria_release(tmp_path_factory):
    """All 180 images, 4x6 pixels, each of one value, with one building of 2x3 pixels at the lower right."""
    root = tmp_path_factory.mktemp('inria') / 'release'
    label = np.zeros((4, 6))
    label[2:, 3:] = 255
    for split in ('train', 'val', 'test'):
        for i, name in enumerate(inria_aerial.names_of(split)):
            save(np.full((4, 6, 3), i), root / f'images/{name}.tif')
            save(label, root / f'gt/{name}.tif')
    return root


class TestInria:
    def test_fctls_lists(self):
        names = {split: inria_aerial.names_of(split) for split in ('train', 'val', 'test')}
        assert {split: len(found) for split, found in names.items()} == dict(train=126, val=27, test=27)
        every = {name for found in names.values() for name in found}
        assert every == {f'{city}{i}' for city in inria_aerial.CITIES for i in range(1, 37)}
        # Of each city, in the order of CITIES, as counted in FCtL's lists.
        for split, counts in dict(train=(23, 27, 25, 26, 25), val=(7, 5, 5, 6, 4), test=(6, 4, 6, 4, 7)).items():
            assert [sum(name.startswith(city) for name in names[split]) for city in inria_aerial.CITIES] == [*counts]

    def test_tiles_of_training_images(self, inria_release, tmp_path, monkeypatch):
        monkeypatch.setattr(inria_aerial, 'SIZE', SIZE)
        assert inria_aerial.convert(inria_release, tmp_path, 3, workers=1) == dict(train=126, val=27, test=27)
        first = inria_aerial.names_of('train')[1]
        names = [f'{first}_{place}' for place in ('0_0', '0_3', '3_0', '3_3')]
        labels = [read(tmp_path / f'labels/train/{name}.png') for name in names]
        assert (np.block([labels[:2], labels[2:]])[2:, 3:] == 1).all()
        assert sum(label.sum() for label in labels) == 6
        assert all((read(tmp_path / f'images/train/{name}.tif') == 1).all() for name in names)
        assert len(files(tmp_path)) == 2 * (4 * 126 + 27 + 27)
        assert read(tmp_path / 'labels/val/austin8.png').tolist() == [[0] * 6] * 2 + [[0] * 3 + [1] * 3] * 2
        prefix = dict(img_path='images/val', seg_map_path='labels/val')
        assert len(InriaAerialDataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=[])) == 27

    def test_tiles_of_a_side_that_does_not_divide(self):
        pixels = np.arange(15).reshape(3, 5)
        parts = dict(inria_aerial.tiles(pixels, 2))
        assert [*parts] == ['_0_0', '_0_2', '_0_4', '_2_0', '_2_2', '_2_4']
        assert parts['_2_4'].tolist() == [[14]]
        assert sorted(np.concatenate([part.ravel() for part in parts.values()])) == [*range(15)]

    def test_what_is_refused(self, inria_release, tmp_path):
        with pytest.raises(ValueError, match='tile is 0'):
            inria_aerial.convert(inria_release, tmp_path, tile=0)
        with pytest.raises(FileNotFoundError, match=r'images, NAME.tif: missing are .*\(180 in all\).*AerialImage'):
            inria_aerial.convert(tmp_path, tmp_path / 'out')
        with pytest.raises(
            ValueError, match='180 of 180 cannot be converted:\n.*austin2.tif is 6x4 .* release are 5000x5000'
        ):
            inria_aerial.convert(inria_release, tmp_path / 'out')
        assert not (tmp_path / 'out').exists()


class TestSaliency:
    @pytest.fixture
    def release(self, tmp_path):
        """Two pairs of 2x3 pixels: gray values, and class ids."""
        for name, values in (('a', [[0, 127, 128], [200, 255, 3]]), ('b', [[0, 1, 1], [0, 0, 0]])):
            save(np.zeros((2, 3, 3)), tmp_path / f'images/{name}.jpg')
            save(values, tmp_path / f'masks/{name}.png')
        return tmp_path / 'images', tmp_path / 'masks'

    def test_gray_values_stay(self, release, tmp_path, capsys):
        saliency.main(['MINE', *map(str, release), str(tmp_path / 'out'), '--workers', '1'])
        assert 'MINE: 2 images' in capsys.readouterr().out
        out = tmp_path / 'out/MINE'
        assert files(out) == {f'{kind}.{suffix}' for kind, suffix in (('image/a', 'jpg'), ('image/b', 'jpg'))} | {
            'mask/a.png',
            'mask/b.png',
        }
        assert read(out / 'mask/a.png').tolist() == [[0, 127, 128], [200, 255, 3]]
        assert read(out / 'mask/b.png').tolist() == [[0, 255, 255], [0, 0, 0]]
        dataset = SaliencyDataset(data_root=str(tmp_path / 'out'), roots=['MINE'], pipeline=[])
        assert [Path(info['seg_map_path']).name for info in dataset] == ['a.png', 'b.png']

    def test_what_is_refused(self, release, tmp_path):
        with pytest.raises(ValueError, match='images has 2 images, but the release has 10553'):
            saliency.main(['DUTS-TR', *map(str, release), str(tmp_path / 'out')])
        save(np.zeros((3, 3)), release[1] / 'b.png')
        with pytest.raises(ValueError, match=r'masks/b.png is 3x3 pixels .* its image .*images/b.jpg is 3x2'):
            saliency.convert(*release, tmp_path / 'out')
        (release[1] / 'b.png').unlink()
        with pytest.raises(FileNotFoundError, match=r'masks, masks: missing are b \(1 in all\)'):
            saliency.convert(*release, tmp_path / 'out')
        assert not (tmp_path / 'out').exists()
