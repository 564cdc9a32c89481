"""The command behind ``tools/predict.py``: predict images, folders, videos and cameras, and write what was found."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..engine.arguments import OptionsAction, require_files
from ..engine.optional import optional
from ..engine.reader import TrustCheckpoint
from .inferencer import ENTRANCES, Inferencer, batches
from .predictors import Prediction
from .sources import Frame, Source, check_whole, count_frames, find_sources, read_video
from .videos import CODECS

#: Folders of the results.
_KINDS = ('mask', 'keypoints', 'overlay')
#: Frames per second of cameras and videos that do not say.
_FPS = 25.0


class _Writer:
    """Writes masks and overlays, and shows these.

    Args:
        out_dir (Path): folder of the results.
        save (Sequence[str]): of 'mask' and 'overlay'.
        draw (Callable): from an image and its prediction to a picture.
        show (bool): whether to open a window.
        stride (int): of videos.
        codec (str): of overlays of videos, of :data:`~dsrl_mm.apis.videos.CODECS`.
    """

    def __init__(self, out_dir: Path, save: Sequence[str], draw: Callable, show: bool, stride: int, codec: str):
        self.out_dir, self.save, self.draw, self.show, self.stride = out_dir, save, draw, show, stride
        self.new_video, self.video, self.source = CODECS[codec], None, None

    def __call__(self, frame: Frame, prediction: Prediction) -> bool:
        """Write a frame's results; False if the person at the window wants no more."""
        if 'mask' in self.save:
            self._write_mask(frame.name, prediction)
        if 'overlay' not in self.save and not self.show:
            return True
        picture = self.draw(frame.image, prediction)
        if 'overlay' in self.save:
            self._write_overlay(frame, picture)
        if not self.show:
            return True
        cv2.imshow('dsrl_mm', picture)
        return cv2.waitKey(1 if frame.source.is_video else 0) not in (27, ord('q'))

    def _file(self, kind: str, name: Path, suffix: str) -> Path:
        file = self.out_dir / kind / f'{name}{suffix}'
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _write_mask(self, name: Path, prediction: Prediction) -> None:
        if prediction.keypoints is not None:
            self._file('keypoints', name, '.json').write_text(json.dumps(prediction.keypoints.round(3).tolist()))
            return
        mask = prediction.mask
        if prediction.probability is not None:
            mask = (255 * prediction.probability).round().astype(np.uint8)
        _imwrite(self._file('mask', name, '.png'), mask)

    def _write_overlay(self, frame: Frame, picture: np.ndarray) -> None:
        if not frame.source.is_video:
            _imwrite(self._file('overlay', frame.name, '.png'), picture)
            return
        if self.source != frame.source:
            self.close()
            file = self._file('overlay', frame.source.name, self.new_video.suffix)
            self.video = self.new_video(file, (frame.fps or _FPS) / self.stride, picture.shape[1::-1])
            self.source = frame.source
        self.video.write(picture)

    def close(self) -> None:
        """End the video that is being written."""
        if self.video is not None:
            self.video.close()
            self.video = None


def _imwrite(file: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(file), image):
        file.unlink(missing_ok=True)  # a part of it
        raise OSError(f'OpenCV cannot write {file}. Is the disk full?')


class _Report:
    """Reports sources that cannot be predicted, each once, or stops at the first.

    Args:
        strict (bool): whether to stop.
    """

    def __init__(self, strict: bool):
        self.strict, self.skipped = strict, set()

    def __call__(self, source: Source, error: Exception) -> None:
        if self.strict:
            raise SystemExit(f'{source}: {error}')
        if source not in self.skipped:
            tqdm.write(f'Skipped {source}: {error}', sys.stderr)
        self.skipped.add(source)


def _frames(sources: Sequence[Source], inferencer: Inferencer, stride: int, report: _Report) -> Iterator[Frame]:
    """Read sources one frame at a time."""
    for source in sources:
        try:
            if source.is_video:
                for frame in read_video(source, stride):
                    yield replace(frame, image=inferencer.of_video(frame.image))
            else:
                check_whole(source.path)
                yield Frame(source, inferencer.load(source.path))
        except Exception as error:  # of any loader, for any kind of damage
            report(source, error)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        'model',
        help='config (with --checkpoint), folder or exported file of tools/deploy.py, or name in the model zoo',
    )
    parser.add_argument('source', help='image, video, folder, glob in quotes, address of a stream, or camera number')
    parser.add_argument('--checkpoint', help="the config's checkpoint")
    parser.add_argument(
        '--entrance',
        choices=ENTRANCES,
        default='auto',
        help="images of the masks' size (canvas), or of the network's (low-res); auto: as the model was deployed",
    )
    parser.add_argument('--out-dir', type=Path, default=Path('predictions'), help='folder of the results (predictions)')
    parser.add_argument(
        '--save',
        nargs='*',
        choices=['mask', 'overlay'],
        default=['mask', 'overlay'],
        help='mask: PNG of class ids, of probabilities times 255, or JSON of keypoints; overlay: PNG, or a video',
    )
    parser.add_argument(
        '--codec',
        choices=[*CODECS],
        default='vp8',
        help='of overlays of videos: vp8 in .webm (default), or h264 in .mp4, which needs the extra "video"',
    )
    parser.add_argument('--opacity', type=float, default=0.5, help='of the masks in overlays (0.5)')
    parser.add_argument('--show', action='store_true', help='show overlays in a window; q or Esc ends')
    parser.add_argument('--device', help='such as cpu or cuda:1 (a GPU if there is one)')
    parser.add_argument('--batch-size', type=int, default=1, help='images of one size predicted together (1)')
    parser.add_argument('--stride', type=int, default=1, help='predict every n-th frame of videos (1)')
    parser.add_argument('--strict', action='store_true', help='stop at the first source that cannot be predicted')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='as of tools/test.py')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    args = parser.parse_args(argv)
    if args.stride < 1 or not 0 <= args.opacity <= 1:
        parser.error('--stride is at least 1, and --opacity from 0 to 1')
    if args.show and sys.platform == 'linux' and not {'DISPLAY', 'WAYLAND_DISPLAY'} & os.environ.keys():
        parser.error('--show opens a window, but there is no display')  # for which OpenCV would abort
    if args.checkpoint is not None:
        require_files(parser, args.model, args.checkpoint)
    return args


def _predict_batch(
    inferencer: Inferencer, batch: Sequence[Frame], report: _Report
) -> Iterator[tuple[Frame, Prediction]]:
    """Predict frames together or, if that fails, one by one: the others have results."""
    try:
        predictions = inferencer.predict_batch([frame.image for frame in batch])
    except Exception as error:  # of any network, for any image
        if len(batch) == 1:
            report(batch[0].source, error)
            return
        for frame in batch:
            yield from _predict_batch(inferencer, [frame], report)
    else:
        yield from zip(batch, predictions)


def _predict(
    inferencer: Inferencer,
    frames: Iterator[Frame],
    report: _Report,
    write: Callable[[Frame, Prediction], bool],
    bar: tqdm,
) -> None:
    for batch in batches(frames, inferencer.batch_size, lambda frame: frame.image.shape):
        for frame, prediction in _predict_batch(inferencer, batch, report):
            bar.update()
            if not write(frame, prediction):
                return


def _prepare(args: argparse.Namespace) -> tuple[list[Source], Inferencer]:
    """Find the sources and load the model.

    Raises:
        FileNotFoundError, ImportError, ValueError: if the command line names what cannot be predicted.
    """
    sources = find_sources(args.source)
    results = {(args.out_dir / kind).resolve() for kind in _KINDS}
    for source in sources:
        if results.intersection(Path(str(source)).resolve().parents):
            raise ValueError(f'{source} lies where results go. Move it, or name another folder by --out-dir.')
    if args.codec == 'h264' and 'overlay' in args.save:
        optional('av', 'video')  # before anything is predicted
    return sources, Inferencer(
        args.model,
        args.checkpoint,
        entrance=args.entrance,
        device=args.device,
        batch_size=args.batch_size,
        cfg_options=args.cfg_options,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Predict images, folders, videos and cameras; return the exit status, 1 if a source was skipped."""
    args = _parse(argv)
    sources, inferencer = _prepare(args)
    report, start = _Report(args.strict), time.perf_counter()
    draw = partial(inferencer.draw, opacity=args.opacity)
    writer = _Writer(args.out_dir, args.save, draw, args.show, args.stride, args.codec)
    counts = [count_frames(source, args.stride) for source in sources]
    bar = tqdm(
        total=None if None in counts else sum(counts),
        unit='frame',
        mininterval=0.1 if sys.stderr.isatty() else 10,  # a line now and then in a log
    )
    frames = _frames(sources, inferencer, args.stride, report)
    with bar, closing(writer):
        try:
            _predict(inferencer, frames, report, writer, bar)
        except KeyboardInterrupt:
            if bar.total is not None:  # cameras have no other end
                raise
    seconds = time.perf_counter() - start
    print(
        f'{bar.n} images or frames in {seconds:.1f} s ({bar.n / seconds:.1f} a second), {len(report.skipped)} skipped'
        + (f'; results in {args.out_dir}' if args.save else '')
    )
    return int(bool(report.skipped))
