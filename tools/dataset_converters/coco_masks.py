"""Draw the objects of one category of COCO as masks, for networks such as PGNet."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from dsrl_mm.engine.arguments import read_json, run
from dsrl_mm.engine.checkpoint import AtomicLocalBackend

__all__ = ['convert', 'draw', 'main']

OBJECT, VOID = 1, 255


def _decode(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Decode COCO's run lengths, which start with background and go down columns, to (H, W), bool."""
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T


def draw(annotations: Sequence[dict], size: tuple[int, int]) -> np.ndarray:
    """Draw the objects of an image.

    Args:
        annotations (Sequence[dict]): of COCO: ``segmentation`` are polygons, or for crowds run lengths.
        size (tuple[int, int]): height and width in pixels.

    Returns:
        np.ndarray: (H, W), uint8: 1 on objects, 255 on crowds, where single objects are not annotated, else 0.
    """
    mask = np.zeros(size, np.uint8)
    crowds = [annotation for annotation in annotations if annotation['iscrowd']]
    for annotation in crowds:
        mask[_decode(annotation['segmentation']['counts'], size)] = VOID
    for annotation in annotations:
        if not annotation['iscrowd']:
            outlines = [
                np.array(points).reshape(-1, 2).round().astype(np.int32) for points in annotation['segmentation']
            ]
            for outline in outlines:  # one by one: those of an object may overlap
                cv2.fillPoly(mask, [outline], OBJECT)
    return mask


def _masks(path: Path, category: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names and masks of the images of an annotation file that show the category."""
    coco = read_json(path)
    ids = {entry['name']: entry['id'] for entry in coco['categories']}
    if category not in ids:
        raise ValueError(f'{path}: has no category {category!r}, but {", ".join(ids)}.')
    by_image = {}
    for annotation in coco['annotations']:
        if annotation['category_id'] == ids[category]:
            by_image.setdefault(annotation['image_id'], []).append(annotation)
    for image in coco['images']:
        if annotations := by_image.get(image['id']):
            yield Path(image['file_name']).stem, draw(annotations, (image['height'], image['width']))


def convert(train: str | Path, val: str | Path, out: str | Path, category: str = 'person') -> dict[str, int]:
    """Write ``masks/NAME.png`` and lists of names, ``train.txt`` and ``val.txt``. Files are replaced atomically.

    Args:
        train (str | Path): COCO's annotation file of the training images.
        val (str | Path): that of the validation images.
        out (str | Path): folder for the masks and lists.
        category (str): name of the category. Defaults to 'person'.

    Returns:
        dict[str, int]: number of images of each split.

    Raises:
        FileNotFoundError: if an annotation file is missing.
        ValueError: if one lacks the category.
    """
    files, counts = AtomicLocalBackend(), {}
    for split, path in (('train', train), ('val', val)):
        names = []
        for name, mask in _masks(Path(path), category):
            files.put(cv2.imencode('.png', mask)[1].tobytes(), Path(out) / 'masks' / f'{name}.png')
            names.append(f'{name}\n')
        files.put_text(''.join(names), Path(out) / f'{split}.txt')
        counts[split] = len(names)
    return counts


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the objects of one category of COCO as masks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('train', help='annotation file (JSON) of the training images')
    parser.add_argument('val', help='annotation file of the validation images')
    parser.add_argument('out', help='folder for masks and lists; COCO_MASKS of the configs')
    parser.add_argument('--category', default='person', help='name of the category (%(default)s)')
    args = parser.parse_args(argv)
    counts = convert(args.train, args.val, args.out, args.category)
    print(f'{args.out}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()) + ' masks')


if __name__ == '__main__':
    run(main)
