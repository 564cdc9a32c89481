"""The page's own resizing, in Node.js, beside OpenCV's."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

RESIZE = Path(__file__).parents[3] / 'projects/web/page/resize.js'
#: Reads R, G, B, A from the standard input and writes R, G, B.
SCRIPT = """
const { resize } = await import(process.argv[1]);
const [height, width, rows, columns] = process.argv.slice(2).map(Number);
const pixels = (await import('node:fs')).readFileSync(0);
const row = (y) => pixels.subarray(4 * width * y, 4 * width * (y + 1));
process.stdout.write(resize({ height, width, row }, [rows, columns]));
"""
needs_node = pytest.mark.skipif(not shutil.which('node'), reason='Node.js is not installed')


def node(script: str, *args, data: bytes = b'') -> bytes:
    command = ['node', '--input-type=module', '-e', script, RESIZE.as_uri(), *map(str, args)]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@needs_node
@pytest.mark.parametrize(
    'size, target',
    [
        ((720, 960), (360, 480)),  # to a half
        ((333, 517), (309, 480)),
        ((61, 83), (353, 480)),  # enlarged
        ((1201, 800), (360, 240)),
        ((5, 1), (360, 72)),
        ((36, 48), (36, 48)),
    ],
)
def test_every_byte_is_that_of_opencv(size, target):
    picture = np.random.default_rng(0).integers(256, size=(*size, 4), dtype=np.uint8)
    found = np.frombuffer(node(SCRIPT, *size, *target, data=picture.tobytes()), np.uint8).reshape(*target, 3)
    expected = cv2.resize(picture[..., :3], target[::-1], interpolation=cv2.INTER_LINEAR)
    assert (found == expected).all()


@needs_node
def test_pictures_are_fitted_into_the_canvas():
    script = 'console.log(JSON.stringify(JSON.parse(process.argv[2]).map((size) => fit(size, [360, 480]))))'
    fitted = node(
        f'const {{ fit }} = await import(process.argv[1]); {script}', '[[720,960],[1080,1920],[4000,3000],[1,2000]]'
    )
    assert fitted.decode().strip() == '[[360,480],[270,480],[360,270],[1,480]]'
