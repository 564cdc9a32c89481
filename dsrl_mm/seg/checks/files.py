"""Checks of images and labels by their headers, so that thousands of large files take seconds."""

import os

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

#: How complete files end, by format.
_ENDS = {'PNG': b'IEND\xaeB`\x82', 'JPEG': b'\xff\xd9'}

#: Suffixes of formats that Pillow reads as the pipeline does. A TIFF may have several pages or bands.
PILLOW_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.webp', '.ppm', '.pgm')


class Suspicion(ValueError):
    """What a header says is wrong; the pipeline may know better."""


def _read_header(path: str) -> Image.Image | None:
    """Read the header of an image file without decoding pixels; PNG and JPEG must also have an end.

    Returns:
        Image.Image | None: None for files that Pillow does not read as the pipeline may: other formats, several pages,
            more pixels than Pillow allows.
    """
    if not os.path.exists(path):
        link = ' is a link to a file that' if os.path.islink(path) else ''
        raise FileNotFoundError(
            f'{path}{link} does not exist. Every image needs a label of the same name: check data_prefix, img_suffix '
            'and seg_map_suffix.'
        )
    if not path.lower().endswith(PILLOW_SUFFIXES):
        return None
    try:
        with open(path, 'rb') as f:
            image = Image.open(f)
            f.seek(max(os.path.getsize(path) - 4096, 0))
            if _ENDS.get(image.format, b'') not in f.read():
                raise Suspicion(f'{path} is a truncated {image.format}: its end is missing. Restore it.')
            return image
    except Image.DecompressionBombError:
        return None
    except (UnidentifiedImageError, OSError, SyntaxError):
        raise Suspicion(f'{path} is not an image. Restore it from its source.') from None


def _check_ids(label: Image.Image, path: str) -> None:
    """Check that ``LoadAnnotations`` can read the label's pixels as class ids."""
    if len(label.getbands()) != 1:
        raise Suspicion(
            f'{path} is a color image ({label.mode}), not class ids. Convert it to one channel of ids, as '
            'tools/dataset_converters/camvid.py does for CamVid, or load it with LoadColorAnnotations and a palette.'
        )
    if label.mode not in ('1', 'L', 'P'):  # more than 8 bits
        with Image.open(path) as decoded:
            ids = np.array(decoded)
        beyond = ids[(ids > 255) & (ids % 256 != 255)]  # 65535 becomes 255, which is void
        if beyond.size:
            raise ValueError(
                f'{path} holds values up to {beyond.max()}, but labels are loaded as 8-bit class ids: 256 would become '
                '0. Write ids from 0 to 255.'
            )


def check_pair(img_path: str | None, seg_map_path: str | None) -> bool:
    """Check the files of an image and its label; None leaves either out. Only labels of more than 8 bits are decoded.

    Returns:
        bool: False if there was nothing to compare, because only the pipeline may know the format of one of the files.
    """
    image = _read_header(img_path) if img_path else None
    label = _read_header(seg_map_path) if seg_map_path else None
    if label is not None:
        _check_ids(label, seg_map_path)
    if image is None or label is None:
        return False
    # A camera held upright stores its photo rotated; the pipeline turns it, as EXIF says.
    rotated = 'exif' in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    size = image.size[::-1] if rotated else image.size
    if size != label.size:
        raise Suspicion(
            f'{seg_map_path} is {label.width}x{label.height} pixels, but its image {img_path} is {size[0]}x{size[1]}. '
            "Labels must have their image's size."
        )
    return True
