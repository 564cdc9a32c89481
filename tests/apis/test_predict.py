import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy import model_cfg, preprocessor_cfg
from toy_models import PALETTE, PIPELINE, write_model

from dsrl_mm.apis import Inferencer
from dsrl_mm.apis.predict import main
from dsrl_mm.apis.predictors import Prediction
from dsrl_mm.apis.videos import CODECS


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    config, checkpoint = write_model(tmp_path_factory.mktemp('trained'))
    return [str(config), '--checkpoint', str(checkpoint), '--device', 'cpu']


@pytest.fixture
def run(model, tmp_path, capsys):
    """Predict a source; gives exit status, stdout and stderr."""

    def run(source, *options):
        status = main([model[0], str(source), *model[1:], '--out-dir', str(tmp_path / 'out'), *map(str, options)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('a.png', 'sub/b.jpg'):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'in' / name), rng.integers(256, size=(48, 64, 3), dtype=np.uint8))
    return tmp_path / 'in'


@pytest.fixture
def video(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'clip.webm'), cv2.VideoWriter_fourcc(*'VP80'), 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(5):
        writer.write(rng.integers(256, size=(48, 64, 3), dtype=np.uint8))
    writer.release()
    return tmp_path / 'clip.webm'


def files(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob('*') if file.is_file())


class TestImages:
    def test_results_keep_names_and_folders(self, run, images, tmp_path, model):
        status, out, err = run(images)
        assert status == 0
        assert files(tmp_path / 'out') == ['mask/a.png', 'mask/sub/b.png', 'overlay/a.png', 'overlay/sub/b.png']
        expected = Inferencer(model[0], model[2], device='cpu')(images / 'sub/b.jpg').mask
        assert (cv2.imread(str(tmp_path / 'out/mask/sub/b.png'), cv2.IMREAD_UNCHANGED) == expected).all()
        assert re.fullmatch(rf'2 images or frames in .* a second\), 0 skipped; results in {tmp_path}/out\n', out)
        assert '2/2' in err  # the bar

    def test_opacity_and_what_is_saved(self, run, images, tmp_path):
        run(images / 'a.png', '--opacity', 1, '--save', 'overlay')
        run(images / 'a.png', '--save', 'mask')
        assert files(tmp_path / 'out') == ['mask/a.png', 'overlay/a.png']
        overlay, mask = (cv2.imread(str(tmp_path / f'out/{kind}/a.png'), -1) for kind in ('overlay', 'mask'))
        assert (overlay[..., ::-1] == np.array(PALETTE)[mask]).all()

    def test_nothing_saved(self, run, images, tmp_path):
        status, out, _ = run(images, '--save')
        assert status == 0 and out.endswith('0 skipped\n') and not (tmp_path / 'out').exists()

    def test_frames_of_low_resolution(self, run, images, tmp_path):
        run(images / 'a.png', '--entrance', 'low-res')
        assert cv2.imread(str(tmp_path / 'out/mask/a.png')).shape == (96, 128, 3)
        assert cv2.imread(str(tmp_path / 'out/overlay/a.png')).shape == (96, 128, 3)

    def test_bad_files_are_skipped(self, run, images, tmp_path):
        (images / 'a0.png').write_bytes((images / 'a.png').read_bytes()[:-2000])
        (images / 'c.tif').write_bytes(b'no image')
        cv2.imwrite(str(images / 'tiny.png'), np.zeros((1, 1, 3), np.uint8))
        status, out, err = run(images, '--batch-size', 3)
        assert status == 1
        assert files(tmp_path / 'out/mask') == ['a.png', 'sub/b.png', 'tiny.png']
        assert ', 2 skipped;' in out
        assert re.search(r'Skipped .*a0.png: .*truncated', err) and re.search('Skipped .*c.tif: ', err)

    def test_an_image_that_the_model_refuses_costs_no_other(self, run, images, monkeypatch, tmp_path):
        predict = Inferencer.predict_batch

        def refuse(self, batch):
            if any(not image.any() for image in batch):
                raise TypeError('all black')
            return predict(self, batch)

        monkeypatch.setattr(Inferencer, 'predict_batch', refuse)
        cv2.imwrite(str(images / 'black.png'), np.zeros((48, 64, 3), np.uint8))
        status, out, err = run(images, '--batch-size', 3)
        assert status == 1 and out.startswith('2 images') and 'black.png: all black' in err
        assert files(tmp_path / 'out/mask') == ['a.png', 'sub/b.png']

    def test_results_are_no_sources(self, run, images, tmp_path):
        run(images, '--save', 'mask')
        for source in (tmp_path, tmp_path / 'out/mask', tmp_path / 'out/mask/a.png'):
            with pytest.raises(ValueError, match='out/mask/a.png lies where results go'):
                run(source, '--save', 'mask')
        assert files(tmp_path / 'out') == ['mask/a.png', 'mask/sub/b.png']

    def test_strict(self, run, images):
        (images / 'a0.png').write_bytes(b'')
        with pytest.raises(SystemExit, match='a0.png: '):
            run(images, '--strict')

    def test_window(self, run, images, monkeypatch):
        monkeypatch.setenv('DISPLAY', ':0')
        shown = []
        monkeypatch.setattr(cv2, 'imshow', lambda _, image: shown.append(image.shape))
        monkeypatch.setattr(cv2, 'waitKey', lambda delay: ord('q') if delay == 0 else -1)
        status, out, _ = run(images, '--show', '--save')
        assert status == 0 and shown == [(48, 64, 3)] and out.startswith('1 images')


class TestVideos:
    def test_overlays_are_a_video_and_masks_are_numbered(self, run, video, tmp_path):
        status, out, _ = run(video, '--batch-size', 2)
        assert status == 0 and out.startswith('5 images')
        assert files(tmp_path / 'out') == [*(f'mask/clip/00000{i}.png' for i in range(5)), 'overlay/clip.webm']
        overlay = cv2.VideoCapture(str(tmp_path / 'out/overlay/clip.webm'))
        assert [overlay.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)] == [5, 10]
        assert overlay.read()[1].shape == (48, 64, 3)

    def test_a_network_of_gray_images(self, video, tmp_path):
        gray = dict(data_preprocessor=preprocessor_cfg(mean=[120.0], std=[60.0], bgr_to_rgb=False))
        load = dict(type='LoadImageFromFile', color_type='grayscale')
        model = model_cfg(False) | gray
        model['backbone'] |= dict(in_channels=1)
        config, checkpoint = write_model(tmp_path, model, test_pipeline=[load, *PIPELINE[1:]])
        common = ['--checkpoint', str(checkpoint), '--device', 'cpu', '--out-dir', str(tmp_path / 'out')]
        assert main([str(config), str(video), *common]) == 0
        frame = cv2.cvtColor(cv2.VideoCapture(str(video)).read()[1], cv2.COLOR_BGR2GRAY)
        expected = Inferencer(config, checkpoint, device='cpu')(frame).mask
        assert len(np.unique(expected)) > 1
        assert (cv2.imread(str(tmp_path / 'out/mask/clip/000000.png'), -1) == expected).all()

    def test_skipped_videos_count_once(self, run, video, monkeypatch):
        def refuse(*_):
            raise ValueError('too small')

        monkeypatch.setattr(Inferencer, 'predict_batch', refuse)
        status, out, err = run(video)
        assert status == 1 and ', 1 skipped;' in out and err.count('clip.webm: too small') == 1

    def test_stride_keeps_the_speed(self, run, video, tmp_path):
        run(video, '--stride', 2)
        assert files(tmp_path / 'out/mask') == ['clip/000000.png', 'clip/000002.png', 'clip/000004.png']
        overlay = cv2.VideoCapture(str(tmp_path / 'out/overlay/clip.webm'))
        assert [overlay.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)] == [3, 5]

    def test_h264(self, run, video, images, tmp_path):
        """As PyAV itself decodes it: every frame, the picture, the speed, and the pixels that browsers show."""
        av = pytest.importorskip('av')
        for name in ('c.webm', 'd.webm'):
            (images / name).write_bytes(video.read_bytes())
        options = ['--save', 'overlay', '--opacity', 0, '--stride', 2]
        assert run(images, *options, '--codec', 'h264')[0] == 0
        assert files(tmp_path / 'out/overlay') == ['a.png', 'c.mp4', 'd.mp4', 'sub/b.png']
        with av.open(str(tmp_path / 'out/overlay/d.mp4')) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ('h264', 'yuv420p', 5)
            first, *others = (frame.to_ndarray(format='bgr24') for frame in container.decode(stream))
        assert first.shape == (48, 64, 3) and len(others) == 2
        # Both are lossy, and halve the resolution of colors: compared in brightness.
        original = cv2.VideoCapture(str(video)).read()[1]
        gray = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(float) for frame in (first, original)]
        assert np.corrcoef(gray[0].ravel(), gray[1].ravel())[0, 1] > 0.9

    def test_h264_without_its_package(self, run, video, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, 'av', None)
        with pytest.raises(ImportError, match=r'av is not installed. Type: pip install "dsrl_mm\[video\]"'):
            run(video, '--codec', 'h264')
        assert not (tmp_path / 'out').exists()
        assert run(video, '--codec', 'h264', '--save', 'mask')[0] == 0

    def test_several_videos_among_images(self, run, video, images, tmp_path):
        for name in ('c.webm', 'd.webm'):
            (images / name).write_bytes(video.read_bytes())
        (images / 'e.mp4').write_bytes(b'no video')
        status, out, err = run(images, '--save', 'overlay')
        assert status == 1 and out.startswith('12 images') and 'e.mp4: OpenCV reads no frame' in err
        assert files(tmp_path / 'out/overlay') == ['a.png', 'c.webm', 'd.webm', 'sub/b.png']
        for name in ('c.webm', 'd.webm'):
            assert cv2.VideoCapture(str(tmp_path / 'out/overlay' / name)).get(cv2.CAP_PROP_FRAME_COUNT) == 5

    def test_a_camera_until_it_is_interrupted(self, run, monkeypatch, tmp_path):
        class Camera:
            left = 4

            def __init__(self, path):
                assert path == 0

            def get(self, _):
                return -1.0  # unknown

            def grab(self):
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
                return True

            def retrieve(self):
                return (False, None) if self.left == 3 else (True, np.zeros((48, 64, 3), np.uint8))

            def release(self):
                pass

        stock = cv2.VideoCapture
        monkeypatch.setattr(cv2, 'VideoCapture', Camera)
        status, out, _ = run(0)
        assert status == 0 and out.startswith('3 images')
        video = stock(str(tmp_path / 'out/overlay/camera0.webm'))
        assert [video.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)] == [3, 25]


def test_interrupting_files_is_no_success(run, images, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Inferencer, 'predict_batch', interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(images)


class TestOtherTasks:
    """What is written of predictions that are no masks."""

    @pytest.fixture
    def predict(self, monkeypatch):
        def predict(prediction):
            monkeypatch.setattr(Inferencer, 'predict_batch', lambda self, images: [prediction])

        return predict

    def test_probabilities(self, run, images, tmp_path, predict):
        probability = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
        predict(Prediction((probability > 0.5).astype(np.uint8), probability))
        run(images / 'a.png')
        written = cv2.imread(str(tmp_path / 'out/mask/a.png'), cv2.IMREAD_UNCHANGED)
        assert np.abs(written / 255 - probability).max() <= 0.5 / 255 + 1e-6

    def test_keypoints(self, run, images, tmp_path, predict):
        predict(Prediction(keypoints=np.array([[[1, 2, 0.5], [3.25, 4, 1]]], np.float32)))
        run(images / 'a.png')
        assert files(tmp_path / 'out') == ['keypoints/a.json', 'overlay/a.png']
        assert json.loads((tmp_path / 'out/keypoints/a.json').read_text()) == [[[1, 2, 0.5], [3.25, 4, 1]]]


@pytest.mark.parametrize('fps', [25, 29.97, 30000 / 1001, 12.5])
def test_h264_takes_odd_sides_and_any_speed(tmp_path, fps):
    av = pytest.importorskip('av')
    video = CODECS['h264'](tmp_path / 'a.mp4', fps, (65, 49))
    colors = np.array([(50, 90, 200), (200, 60, 30)])
    for color in colors:
        video.write(np.full((49, 65, 3), color, np.uint8))
    video.close()
    with av.open(str(tmp_path / 'a.mp4')) as container:
        frames = [frame.to_ndarray(format='bgr24') for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-4)
        assert stream.codec_context.colorspace == 6  # SMPTE 170M, the matrix of BT.601
    content = (tmp_path / 'a.mp4').read_bytes()
    assert content.index(b'moov') < content.index(b'mdat')  # to play while it loads
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 2
    assert np.array([frame.mean((0, 1)) for frame in frames]) == pytest.approx(colors, abs=3)


def test_a_full_disk_leaves_no_part_of_an_image(run, images, tmp_path, monkeypatch):
    def write_a_part(file, _):
        Path(file).write_bytes(b'part')
        return False

    monkeypatch.setattr(cv2, 'imwrite', write_a_part)
    with pytest.raises(OSError, match='a.png. Is the disk full'):
        run(images)
    assert files(tmp_path / 'out') == []


def test_a_full_disk_ends_a_video(tmp_path, monkeypatch):
    video = CODECS['vp8'](tmp_path / 'a.webm', 25, (64, 48))
    with pytest.raises(OSError, match='cannot write .*a.webm. Is the disk full'):
        video.write(np.zeros((24, 64, 3), np.uint8))  # of another size, which OpenCV leaves out as well


@pytest.mark.parametrize('option', [['--stride', '0'], ['--opacity', '2'], ['--save', 'video'], ['--show']])
def test_options_out_of_range(option, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'linux')
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit):
        main(['model', 'source', *option])
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (['street_net', 'street.png'], FileNotFoundError, '^street.png: there is no such image'),
        (['street_net', __file__], ValueError, '^street_net is no folder .* not in the model zoo'),
        (['street_net.onnx', __file__], FileNotFoundError, '^There is no street_net.onnx'),
    ],
)
def test_mistakes_are_named(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where nobody has a street.png
    with pytest.raises(error, match=message):
        main(arguments)


@pytest.mark.parametrize(
    ('model', 'checkpoint', 'missing'), [('none.py', __file__, 'none.py'), (__file__, 'a.pth', 'a.pth')]
)
def test_missing_config_or_checkpoint(model, checkpoint, missing, capsys):
    with pytest.raises(SystemExit):
        main([model, 'street.png', '--checkpoint', checkpoint])
    assert f'there is no {missing}\n' in capsys.readouterr().err
