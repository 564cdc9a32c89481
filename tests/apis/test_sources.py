from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsrl_mm.apis import sources
from dsrl_mm.apis.sources import Source, check_whole, count_frames, find_sources, read_video


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.JPG', 'deep/er/b.png', 'deep/clip.webm', 'notes.txt'):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'in' / name).touch()
    return tmp_path / 'in'


def names(found):
    return [source.name.as_posix() for source in found]


class TestFinding:
    def test_a_folder_with_its_subfolders(self, folder):
        found = find_sources(str(folder))
        assert names(found) == ['a', 'b', 'deep/clip', 'deep/er/b']
        assert [source.is_video for source in found] == [False, False, True, False]
        assert found[3].path == str(folder / 'deep/er/b.png')

    def test_links_to_folders_count_and_hidden_files_do_not(self, folder):
        for name in ('._b.png', '.thumbnails/b.png'):  # as macOS and browsers of files leave them
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        (folder / 'link').symlink_to('deep/er')
        folder = folder.rename(folder.with_name('[in]'))
        assert names(find_sources(folder)) == ['a', 'b', 'deep/clip', 'deep/er/b', 'link/b']

    def test_a_glob_keeps_the_folders_from_its_first_wildcard(self, folder):
        assert names(find_sources(f'{folder}/*/er/*.png')) == ['deep/er/b']
        assert names(find_sources(f'{folder}/**/*.png')) == ['b', 'deep/er/b']
        assert names(find_sources(f'{folder}/deep/er/*')) == ['b']

    def test_relative_globs(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        assert names(find_sources('*.png')) == ['b']

    def test_a_folder_with_a_number_for_a_name(self, folder, monkeypatch):
        monkeypatch.chdir(folder.rename(folder.with_name('2024')).parent)
        assert len(find_sources('2024')) == 4

    def test_one_file(self, folder):
        assert find_sources(folder / 'b.png') == [Source(str(folder / 'b.png'), Path('b'), False)]
        assert not find_sources(folder / 'a.JPG')[0].is_video
        assert find_sources(folder / 'notes.txt')[0].is_video  # whatever OpenCV says of it
        Image.new('RGB', (2, 2)).save(folder / 'b.jfif', 'JPEG')  # a suffix that no list has
        assert not find_sources(folder / 'b.jfif')[0].is_video

    @pytest.mark.parametrize('source', [0, '0'])
    def test_a_camera(self, source):
        assert find_sources(source) == [Source(0, Path('camera0'), True)]
        assert str(find_sources(source)[0]) == 'camera 0'

    def test_a_stream(self):
        (stream,) = find_sources('rtsp://host/street.sdp')
        assert stream == Source('rtsp://host/street.sdp', Path('street'), True) and stream.is_live
        assert find_sources('rtsp://me:password@host:554')[0].name == Path('host')

    def test_results_of_one_name(self, folder):
        (folder / 'b.bmp').touch()
        with pytest.raises(ValueError, match=r'b.bmp and .*b.png differ only in the suffix'):
            find_sources(folder)

    def test_a_video_and_its_thumbnail(self, folder):
        (folder / 'b.webm').touch()  # masks: b.png, and b/000000.png and so on
        assert [one.name for one in find_sources(folder)].count(Path('b')) == 2

    def test_images_in_a_folder_of_a_videos_name(self, folder):
        (folder / 'deep.png').touch()
        assert len(find_sources(folder)) == 5  # images have no folder of frames
        (folder / 'deep/er.webm').touch()
        with pytest.raises(ValueError, match=r'er/b.png and of the frames of .*er.webm would lie in one folder'):
            find_sources(folder)

    def test_images_that_are_left_out_are_counted_once(self, folder, capsys):
        assert find_sources(folder) and capsys.readouterr().err == ''  # of notes.txt
        for name in ('c.gif', 'deep/d.GIF', 'e.svg'):
            (folder / name).touch()
        assert len(find_sources(folder)) == 4
        assert capsys.readouterr().err.startswith(f'{folder}: left out 2 .gif, 1 .svg. Convert such files')
        with pytest.raises(FileNotFoundError):
            find_sources(folder / '*.gif')
        assert 'left out 1 .gif.' in capsys.readouterr().err

    @pytest.mark.parametrize('source', ['nowhere', 'in/*.gif', '.'])
    def test_nothing(self, tmp_path, monkeypatch, source):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FileNotFoundError, match='there is no such image'):
            find_sources(source)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_images(tmp_path, suffix):
    file = tmp_path / f'a{suffix}'
    cv2.imwrite(str(file), np.random.default_rng(0).integers(256, size=(48, 64, 3), dtype=np.uint8))
    check_whole(str(file))
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(OSError, match='truncated'):
        check_whole(str(file))


def test_formats_that_pillow_does_not_know_are_left_to_the_pipeline(tmp_path):
    (tmp_path / 'a.tif').write_bytes(b'own format')
    check_whole(str(tmp_path / 'a.tif'))


class TestVideo:
    @pytest.fixture
    def video(self, tmp_path):
        writer = cv2.VideoWriter(str(tmp_path / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
        for i in range(5):
            writer.write(np.full((48, 64, 3), 50 * i, np.uint8))
        writer.release()
        return find_sources(tmp_path / 'v.avi')[0]

    def test_frames(self, video):
        frames = list(read_video(video))
        assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
        assert [round(frame.image.mean() / 50) for frame in frames] == [0, 1, 2, 3, 4]
        assert {frame.fps for frame in frames} == {10}
        assert [frames[i].name for i in (0, 3)] == [Path('v/000000'), Path('v/000003')]
        assert count_frames(video) == 5

    def test_stride(self, video):
        frames = list(read_video(video, 2))
        assert [frame.index for frame in frames] == [0, 2, 4]
        assert [round(frame.image.mean() / 50) for frame in frames] == [0, 2, 4]
        assert count_frames(video, 2) == 3

    def test_headers_may_estimate(self, video, monkeypatch):
        monkeypatch.setattr(sources, 'count_frames', lambda _: 5.5)
        assert len(list(read_video(video))) == 5
        monkeypatch.setattr(sources, 'count_frames', lambda _: 6)
        with pytest.raises(ValueError, match='it ends after 5 of the 6 frames'):
            list(read_video(video))

    def test_truncated(self, tmp_path):
        file, rng = tmp_path / 'v.avi', np.random.default_rng(0)
        writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
        for _ in range(20):
            writer.write(rng.integers(256, size=(48, 64, 3), dtype=np.uint8))
        writer.release()
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        frames = read_video(find_sources(file)[0])
        assert next(frames).image.shape == (48, 64, 3)
        with pytest.raises(ValueError, match=r'it ends after \d of the 20 frames that its header names'):
            list(frames)

    def test_no_video(self, tmp_path):
        (tmp_path / 'a.mp4').write_bytes(b'nothing')
        (source,) = find_sources(tmp_path)
        assert count_frames(source) is None
        with pytest.raises(ValueError, match='OpenCV reads no frame: it is damaged'):
            next(read_video(source))
        with pytest.raises(ValueError, match='OpenCV reads no frame: no such camera or stream answers'):
            next(read_video(Source(99, Path('camera99'), True)))

    def test_cameras_are_not_opened_to_count(self):
        assert count_frames(Source(99, Path('camera99'), True)) is None
        assert count_frames(Source('a.png', Path('a'), False)) == 1
