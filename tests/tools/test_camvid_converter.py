"""The converter of the original CamVid release, on made-up frames of a few pixels."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.dataset_converters import camvid as camvid_release
from tools.dataset_converters.camvid import convert, label_ids, main, split_of

REPO = Path(__file__).resolve().parents[2]

# label_colors.txt of the release, line by line, and the id each class ends up with.
RELEASE = [
    ('Animal', 64, 128, 64, 9),
    ('Archway', 192, 0, 128, 1),
    ('Bicyclist', 0, 128, 192, 10),
    ('Bridge', 0, 128, 64, 1),
    ('Building', 128, 0, 0, 1),
    ('Car', 64, 0, 128, 8),
    ('CartLuggagePram', 64, 0, 192, 9),
    ('Child', 192, 128, 64, 9),
    ('Column_Pole', 192, 192, 128, 2),
    ('Fence', 64, 64, 128, 7),
    ('LaneMkgsDriv', 128, 0, 192, 3),
    ('LaneMkgsNonDriv', 192, 0, 64, 3),
    ('Misc_Text', 128, 128, 64, 6),
    ('MotorcycleScooter', 192, 0, 192, 10),
    ('OtherMoving', 128, 64, 64, 8),
    ('ParkingBlock', 64, 192, 128, 4),
    ('Pedestrian', 64, 64, 0, 9),
    ('Road', 128, 64, 128, 3),
    ('RoadShoulder', 128, 128, 192, 4),
    ('Sidewalk', 0, 0, 192, 4),
    ('SignSymbol', 192, 128, 128, 6),
    ('Sky', 128, 128, 128, 0),
    ('SUVPickupTruck', 64, 128, 192, 8),
    ('TrafficCone', 0, 0, 64, 2),
    ('TrafficLight', 0, 64, 64, 6),
    ('Train', 192, 64, 128, 8),
    ('Tree', 128, 128, 0, 5),
    ('Truck_Bus', 192, 128, 192, 8),
    ('Tunnel', 64, 0, 64, 1),
    ('VegetationMisc', 192, 192, 0, 5),
    ('Void', 0, 0, 0, 255),
    ('Wall', 64, 192, 0, 1),
]
SKY, ROAD, VOID = (128, 128, 128), (128, 64, 128), (0, 0, 0)
TRAIN, VAL, TEST = '0006R0_f00930', '0016E5_07959', 'Seq05VD_f00000'


def write_frame(release: Path, name: str, image: np.ndarray, label: np.ndarray) -> None:
    for folder, file, pixels in (
        ('701_StillsRaw_full', f'{name}.png', image),
        ('LabeledApproved_full', f'{name}_L.png', label),
    ):
        (release / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(release / folder / file)


@pytest.fixture
def release(tmp_path):
    """One frame for each split, 4x6 pixels: the upper half sky, the lower half road, the last column void."""
    label = np.zeros((4, 6, 3))
    label[:2, :5], label[2:, :5] = SKY, ROAD
    for i, name in enumerate((TRAIN, VAL, TEST)):
        write_frame(tmp_path / 'release', name, np.random.default_rng(i).integers(256, size=(4, 6, 3)), label)
    return tmp_path / 'release'


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


def test_every_color_of_the_release_has_its_id():
    assert len(RELEASE) == 32
    colors = np.array([row[1:4] for row in RELEASE], dtype=np.uint8).reshape(4, 8, 3)
    ids = label_ids(colors)
    assert ids.dtype == np.uint8
    assert ids.shape == (4, 8)
    assert dict(zip([row[0] for row in RELEASE], ids.ravel().tolist())) == {row[0]: row[4] for row in RELEASE}


def test_the_table_names_the_classes_as_the_release_does():
    named = {name: color for colors in camvid_release.COLORS.values() for name, color in colors.items()}
    assert named == {name: (r, g, b) for name, r, g, b, _ in RELEASE if name != 'Void'}


@pytest.mark.parametrize('color', [(128, 0, 1), (0, 0, 128), (129, 64, 128), (255, 255, 255), (64, 128, 128)])
def test_unknown_color_is_told_with_its_first_place(color):
    label = np.zeros((5, 7, 3), dtype=np.uint8)
    label[2, 4] = label[3, 1] = color
    with pytest.raises(ValueError) as error:
        label_ids(label)
    assert f'the color {color} at row 2, column 4' in str(error.value)
    assert '(2 such pixels)' in str(error.value)


@pytest.mark.parametrize(
    ('name', 'split'),
    [
        ('0001TP_006690', 'train'),
        ('0001TP_008520', 'train'),
        ('0001TP_008550', 'test'),
        ('0001TP_010380', 'test'),
        ('0006R0_f00930', 'train'),
        ('0006R0_f03930', 'train'),
        ('0016E5_00390', 'train'),
        ('0016E5_00901', 'train'),
        ('0016E5_07920', 'train'),
        ('0016E5_07959', 'val'),
        ('0016E5_08159', 'val'),
        ('0016E5_08190', 'train'),
        ('0016E5_08640', 'train'),
        ('Seq05VD_f00000', 'test'),
        ('Seq05VD_f05100', 'test'),
        ('0016E5_08170', None),
        ('0001TP_006660', None),
        ('Seq05VD_f05130', None),
        ('Seq06VD_f00000', None),
        ('0006R0', None),
        ('._0016E5_07959', None),
    ],
)
def test_split(name, split):
    assert split_of(name) == split


def test_split_has_segnets_sizes():
    # Every 30th frame of four drives, one of them a frame late; of 0016E5 also every second one of its val part.
    names = [f'0001TP_{i:06}' for i in range(6690, 10381, 30)] + [f'0006R0_f{i:05}' for i in range(930, 3931, 30)]
    late = {900: 901}
    names += [
        f'0016E5_{late.get(i, i):05}' for part in ((390, 2401), (4350, 7921), (8190, 8641)) for i in range(*part, 30)
    ]
    names += [f'0016E5_{i:05}' for i in range(7959, 8160, 2)] + [f'Seq05VD_f{i:05}' for i in range(0, 5101, 30)]
    splits = [split_of(name) for name in names]
    assert [splits.count(split) for split in ('train', 'val', 'test')] == [367, 101, 233]
    assert len(names) == 701


@pytest.mark.needs('CAMVID_ROOT')
@pytest.mark.parametrize(('split', 'count'), [('train', 367), ('val', 101)])
def test_split_is_that_of_the_real_data(split, count):
    folder = Path(os.environ['CAMVID_ROOT'], 'images', split)
    names = [path.stem for path in folder.glob('*.png')]
    assert len(names) == count
    assert {name: split_of(name) for name in names} == dict.fromkeys(names, split)


def test_converts_every_frame(release, tmp_path):
    counts = convert(release, tmp_path / 'out', workers=2)
    assert counts == {'train': 1, 'val': 1, 'test': 1}
    expected = [[0, 0, 0, 0, 0, 255]] * 2 + [[3, 3, 3, 3, 3, 255]] * 2
    paths = {f'{split}/{name}.png' for split, name in (('train', TRAIN), ('val', VAL), ('test', TEST))}
    assert files(tmp_path / 'out') == {f'{kind}/{path}' for kind in ('images', 'labels') for path in paths}
    for path in paths:
        label = Image.open(tmp_path / 'out/labels' / path)
        assert label.mode == 'L'
        np.testing.assert_array_equal(np.asarray(label), expected)
        np.testing.assert_array_equal(
            read(tmp_path / 'out/images' / path), read(release / '701_StillsRaw_full' / Path(path).name)
        )


def test_resizes_images_by_area_and_labels_by_the_nearest_pixel(tmp_path):
    image = np.zeros((4, 6, 3))
    image[:2, :2, 0] = [[10, 20], [30, 60]]  # mean 30
    image[2:, 4:, 2] = [[200, 200], [0, 0]]  # mean 100
    label = np.zeros((4, 6, 3))
    label[:2, :2], label[2:, 2:] = SKY, ROAD
    write_frame(tmp_path / 'release', VAL, image, label)
    convert(tmp_path / 'release', tmp_path / 'out', size=(2, 3), workers=1)
    expected = np.zeros((2, 3, 3))
    expected[0, 0, 0], expected[1, 2, 2] = 30, 100
    np.testing.assert_array_equal(read(tmp_path / f'out/images/val/{VAL}.png'), expected)
    # Sky (0) beside void (255) and road (3): anything but the nearest pixel mixes ids.
    np.testing.assert_array_equal(read(tmp_path / f'out/labels/val/{VAL}.png'), [[0, 255, 255], [255, 3, 3]])


def test_labels_with_a_palette_are_read_as_colors(tmp_path):
    write_frame(tmp_path / 'release', VAL, np.zeros((2, 2, 3)), np.zeros((2, 2, 3)))
    indexed = Image.new('P', (2, 2), 1)
    indexed.putpalette([0, 0, 0, *ROAD])
    indexed.save(tmp_path / f'release/LabeledApproved_full/{VAL}_L.png')
    convert(tmp_path / 'release', tmp_path / 'out', workers=1)
    np.testing.assert_array_equal(read(tmp_path / f'out/labels/val/{VAL}.png'), np.full((2, 2), 3))


def test_can_be_repeated_at_another_size(release, tmp_path):
    convert(release, tmp_path / 'out', workers=1)
    first = files(tmp_path / 'out')
    convert(release, tmp_path / 'out', size=(2, 3), workers=1)
    assert files(tmp_path / 'out') == first
    assert {read(tmp_path / 'out' / file).shape[:2] for file in first} == {(2, 3)}


def test_an_image_never_stands_without_its_label(release, tmp_path):
    (tmp_path / 'out/labels').mkdir(parents=True)
    (tmp_path / 'out/labels/val').touch()  # a file where a folder is needed: the label cannot be written
    with pytest.raises(OSError, match='labels/val'):
        convert(release, tmp_path / 'out', workers=1)
    assert not any(VAL in file or 'partial' in file for file in files(tmp_path / 'out'))


class TestNothingIsWrittenUntilNamesAndSizesFit:
    @pytest.fixture(autouse=True)
    def _nothing_written(self, tmp_path):
        yield
        assert not (tmp_path / 'out').exists()

    @pytest.mark.parametrize('folder', ['701_StillsRaw_full', 'LabeledApproved_full'])
    def test_folder_missing_or_empty(self, release, tmp_path, folder):
        for path in (release / folder).iterdir():
            path.unlink()
        with pytest.raises(FileNotFoundError, match=rf'{folder} holds no PNG files\. Unpack .*{folder}\.zip'):
            convert(release, tmp_path / 'out')
        (release / folder).rmdir()
        with pytest.raises(FileNotFoundError, match=f'{folder} does not exist'):
            convert(release, tmp_path / 'out')

    def test_labels_missing(self, release, tmp_path):
        for i in range(960, 1140, 30):  # six more frames
            Image.new('RGB', (6, 4)).save(release / f'701_StillsRaw_full/0006R0_f{i:05}.png')
        with pytest.raises(FileNotFoundError) as error:
            convert(release, tmp_path / 'out')
        first = ', '.join(f'0006R0_f{i:05}' for i in range(960, 1110, 30))
        assert f'LabeledApproved_full, labels NAME_L.png: missing are {first}, ... (6 in all)' in str(error.value)

    def test_frames_missing(self, release, tmp_path):
        (release / f'701_StillsRaw_full/{VAL}.png').unlink()
        with pytest.raises(FileNotFoundError, match=rf'701_StillsRaw_full, frames NAME.png: missing are {VAL} \(1 in'):
            convert(release, tmp_path / 'out')

    def test_frame_of_no_split(self, release, tmp_path):
        write_frame(release, '0016E5_99999', np.zeros((4, 6, 3)), np.zeros((4, 6, 3)))
        with pytest.raises(ValueError, match=r'no frames 0016E5_99999 \(1 in all\)\. Remove'):
            convert(release, tmp_path / 'out')

    def test_sizes_differ(self, release, tmp_path):
        Image.new('RGB', (6, 3)).save(release / f'LabeledApproved_full/{VAL}_L.png')
        with pytest.raises(ValueError, match=rf'{VAL}_L\.png is 6x3 pixels .*{VAL}\.png is 6x4'):
            convert(release, tmp_path / 'out')

    def test_file_that_is_no_image(self, release, tmp_path):
        (release / f'701_StillsRaw_full/{TEST}.png').write_text('<html>not found</html>')
        with pytest.raises(ValueError, match=f'{TEST}.png'):
            convert(release, tmp_path / 'out')

    @pytest.mark.parametrize('size', [(0, 480), (360, -1)])
    def test_size_that_is_none(self, release, tmp_path, size):
        with pytest.raises(ValueError, match='height and a width'):
            convert(release, tmp_path / 'out', size=size)


def test_all_bad_labels_are_told_at_once_and_the_others_converted(release, tmp_path):
    bad = np.zeros((4, 6, 3))
    bad[1, 3] = (1, 2, 3)
    write_frame(release, VAL, np.zeros((4, 6, 3)), bad)
    truncated = release / f'701_StillsRaw_full/{TEST}.png'
    truncated.write_bytes(truncated.read_bytes()[:-40])
    with pytest.raises(ValueError) as error:
        convert(release, tmp_path / 'out', workers=1)
    assert '2 of 3 cannot be converted' in str(error.value)
    assert f'LabeledApproved_full/{VAL}_L.png: the color (1, 2, 3) at row 1, column 3' in str(error.value)
    assert f'701_StillsRaw_full/{TEST}.png: ' in str(error.value)
    assert files(tmp_path / 'out') == {f'{kind}/train/{TRAIN}.png' for kind in ('images', 'labels')}


@pytest.mark.parametrize(('options', 'size'), [(['--size', '2', '3'], (2, 3)), ([], (4, 6))])
def test_command(release, tmp_path, capsys, options, size):
    main([str(release), str(tmp_path / 'out'), '--workers', '1', *options])
    assert f'{tmp_path / "out"}: 1 train, 1 val, 1 test frames' in capsys.readouterr().out
    assert read(tmp_path / f'out/labels/val/{VAL}.png').shape == size
    assert read(tmp_path / f'out/images/test/{TEST}.png').shape == (*size, 3)
