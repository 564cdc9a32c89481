"""Images and videos to predict on: found, read one by one, and named for the results."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape, glob, has_magic
from itertools import count, takewhile
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

_IMAGES = {'.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp'}
_VIDEOS = {'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ogv', '.webm'}


@dataclass(frozen=True)
class Source:
    """An image, a video or a camera.

    Args:
        path (str | int): a file, an address, or a camera's number.
        name (Path): of its results: relative, with the subfolders, without suffix.
        is_video (bool): whether there are many frames.
    """

    path: str | int
    name: Path
    is_video: bool

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or a stream, whose end is not known."""
        return isinstance(self.path, int) or '://' in self.path

    def __str__(self) -> str:
        return f'camera {self.path}' if isinstance(self.path, int) else self.path


@dataclass(frozen=True)
class Frame:
    """One image of a source; of a video also its number and the frames per second, if they are known."""

    source: Source
    image: np.ndarray
    index: int | None = None
    fps: float | None = None

    @property
    def name(self) -> Path:
        """Name of the frame's own results."""
        return self.source.name if self.index is None else self.source.name / f'{self.index:06d}'


def find_sources(source: str | int) -> list[Source]:
    """Find images and videos; a line on stderr counts the files of a folder that seem to be some and are left out.

    Args:
        source (str | int): an image, a video, an address of a stream, a folder (subfolders and links to folders count,
            hidden files do not), a glob, where ``**`` stands for any folders, or a camera's number. Names are relative
            to the folder, or to what precedes the first wildcard.

    Raises:
        FileNotFoundError: if there is no such file, or none that is an image or a video.
        ValueError: if results of two files would have one name.
    """
    text = str(source)
    if text.isdecimal() and not Path(text).exists():
        return [Source(int(text), Path(f'camera{text}'), True)]
    if '://' in text:
        address = urlsplit(text)  # may hold a password
        return [Source(text, Path(Path(address.path).stem or address.hostname or 'stream'), True)]
    path = Path(text)
    if path.is_file():
        suffix = path.suffix.lower()
        is_video = suffix not in _IMAGES and (suffix == '.gif' or not cv2.haveImageReader(text))
        return [Source(text, Path(path.stem), is_video)]
    if path.is_dir():
        root, pattern = path, str(Path(escape(text), '**'))
    else:
        root, pattern = Path(*takewhile(lambda part: not has_magic(part), path.parts)), text
    found = sorted(file for file in map(Path, glob(pattern, recursive=True)) if file.is_file())
    files = [file for file in found if file.suffix.lower() in _IMAGES | _VIDEOS]
    suffixes = Counter(file.suffix.lower() for file in found)
    if others := {suffix: suffixes[suffix] for suffix in suffixes.keys() - _IMAGES - _VIDEOS if _is_picture(suffix)}:
        counts = ', '.join(f'{count} {suffix}' for suffix, count in sorted(others.items()))
        print(f'{text}: left out {counts}. Convert such files to PNG or WebM to predict them.', file=sys.stderr)
    if not files:
        raise FileNotFoundError(f'{text}: there is no such image, video or folder with images or videos')
    sources = [
        Source(str(file), file.relative_to(root).with_suffix(''), file.suffix.lower() in _VIDEOS) for file in files
    ]
    names = {(one.name, one.is_video): one for one in sources}  # a video's masks lie in a folder of its name
    for one in sources:
        if (twin := names[one.name, one.is_video]) is not one:
            raise ValueError(f'{one} and {twin} differ only in the suffix. Rename one, or pick by a glob.')
        for folder in one.name.parents:
            if video := names.get((folder, True)):
                raise ValueError(
                    f'Masks of {one} and of the frames of {video} would lie in one folder. Rename one, or pick by a '
                    'glob.'
                )
    return sources


def _is_picture(suffix: str) -> bool:
    """Whether a suffix is that of images or videos of any kind."""
    return (guess_type(f'a{suffix}')[0] or '').startswith(('image/', 'video/'))


def check_whole(file: str) -> None:
    """Refuse a damaged or truncated image, which OpenCV would fill with gray.

    Raises:
        OSError: if Pillow knows the format and cannot decode all of the file.
    """
    try:
        with Image.open(file) as image:
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return  # the pipeline may know better


def count_frames(source: Source, stride: int = 1) -> int | None:
    """Return how many frames a source has, as its header says; None of cameras, streams and damaged videos."""
    if not source.is_video:
        return 1
    if source.is_live:
        return None
    frames = cv2.VideoCapture(source.path).get(cv2.CAP_PROP_FRAME_COUNT)
    return -(-int(frames) // stride) if frames > 0 else None


def read_video(source: Source, stride: int = 1) -> Iterator[Frame]:
    """Read every ``stride``-th frame of a video, a stream or a camera, but those that cannot be decoded.

    Raises:
        ValueError: if OpenCV reads no frame, or, after those that it reads, if many are missing.
    """
    video = cv2.VideoCapture(source.path)
    try:
        fps = video.get(cv2.CAP_PROP_FPS)
        fps = fps if fps > 0 else None  # OpenCV 4 says 0 if it does not know, OpenCV 5 says -1
        for index in count():
            if not video.grab():
                break
            if index % stride == 0 and (image := video.retrieve()[1]) is not None:  # as cameras' first ones may be
                yield Frame(source, image, index, fps)
    finally:
        video.release()
    if index == 0:
        raise ValueError(
            'OpenCV reads no frame: '
            + (
                'no such camera or stream answers'
                if source.is_live
                else 'it is damaged, no image or video, or of an unknown format'
            )
        )
    named = count_frames(source) or 0
    if index < 0.9 * named:  # some headers estimate
        raise ValueError(f'it ends after {index} of the {named} frames that its header names: is it truncated?')
