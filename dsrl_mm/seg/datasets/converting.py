"""What converters of data sets share: checks, atomic writing, and conversion on all cores that reports all problems."""

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from ...engine.checkpoint import AtomicLocalBackend

Item = TypeVar('Item')


def some(names: Iterable[str]) -> str:
    """List the first five names, and how many there are."""
    names = list(names)
    return f'{", ".join(names[:5])}{", ..." if len(names) > 5 else ""} ({len(names)} in all)'


def check_names(found: Iterable[str], expected: Iterable[str], what: str, remedy: str) -> None:
    """Check that all expected files are found; others are ignored.

    Raises:
        FileNotFoundError: if one is missing; ``what`` says what they are, and where, and ``remedy`` what to do.
    """
    if missing := sorted(set(expected) - set(found)):
        raise FileNotFoundError(f'{what}: missing are {some(missing)}. {remedy}')


def check_pair_size(image: Path, label: Path, size: tuple[int, int] | None = None) -> None:
    """Check by their headers that an image and its label have one size: ``size``, (height, width), if given.

    Raises:
        ValueError: if a size differs, or a file is no image.
    """
    sizes = {}
    for path in (image, label):
        try:
            with Image.open(path) as file:
                sizes[path] = file.size
        except OSError as error:  # Pillow names the file
            raise ValueError(str(error)) from error
    width, height = sizes[image] if size is None else size[::-1]
    whose = f'its image {image} is' if size is None else 'all images of the release are'
    for path, found in sizes.items():
        if found != (width, height):
            raise ValueError(
                f'{path} is {found[0]}x{found[1]} pixels (width x height), but {whose} {width}x{height}. Unpack the '
                'release again.'
            )


def read_pixels(path: Path, mode: str = 'RGB') -> np.ndarray:
    """Decode an image file to (H, W, 3), R G B, or with mode 'L' to (H, W), uint8.

    Raises:
        ValueError: if it is damaged; the message names it.
    """
    try:
        return np.asarray(Image.open(path).convert(mode))
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise ValueError(f'{path}: {error}') from error


def write_pixels(pixels: np.ndarray | Image.Image, path: Path) -> None:
    """Write an image without loss in the format of the path's suffix, atomically."""
    encoded = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(encoded, format={'.png': 'PNG', '.tif': 'TIFF'}[path.suffix])
    AtomicLocalBackend().put(encoded.getvalue(), path)


def _problem(function: Callable[[Item], None], item: Item) -> str | None:
    try:
        function(item)
    except ValueError as error:
        return str(error)
    return None


def _report(problems: Iterable[str | None], count: int) -> None:
    problems = [problem for problem in problems if problem]
    if problems:
        more = f'\n... and {len(problems) - 10} more' if len(problems) > 10 else ''
        listed = '\n'.join(problems[:10])
        raise ValueError(f'{len(problems)} of {count} cannot be converted:\n{listed}{more}')


def check_all(check: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Call ``check`` with every item.

    Raises:
        ValueError: if it raises one, with all messages.
    """
    _report((_problem(check, item) for item in items), len(items))


def convert_all(convert: Callable[[Item], None], items: Sequence[Item], workers: int | None = None) -> None:
    """Convert items on several cores, by default all.

    ``convert`` must be a function of a module, so that other processes find it, or a ``partial`` of one.

    Raises:
        ValueError: if it raises one, with all messages; the other items are converted.
    """
    with ProcessPoolExecutor(workers) as pool:
        _report(track_iter_progress((pool.map(partial(_problem, convert), items), len(items))), len(items))
