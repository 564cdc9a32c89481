"""Writers of videos: WebM (VP8) by OpenCV, and MP4 (H.264) by PyAV."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ..engine.optional import optional


class WebM:
    """VP8, the one modern format that OpenCV writes everywhere. Odd sides are cut by a pixel.

    Args:
        file (Path): created.
        fps (float): frames per second.
        size (tuple[int, int]): width and height in pixels.

    Raises:
        OSError: if OpenCV cannot write it.
    """

    suffix = '.webm'

    def __init__(self, file: Path, fps: float, size: tuple[int, int]):
        self.file, self.video = file, cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'VP80'), fps, size)
        if not self.video.isOpened():
            raise OSError(f'OpenCV cannot write {file}. Leave "overlay" out of --save.')

    def write(self, picture: np.ndarray) -> None:
        """Add a frame, bytes (H, W, 3), B G R."""
        if self.video.write(picture) is False:  # OpenCV 4 does not say
            raise OSError(f'OpenCV cannot write {self.file}. Is the disk full, or did the size of the frames change?')

    def close(self) -> None:
        """End the video."""
        self.video.release()


class MP4:
    """H.264 in 4:2:0, which players and browsers take. Odd sides are cut by a pixel.

    Args:
        file (Path): created.
        fps (float): frames per second.
        size (tuple[int, int]): width and height in pixels.

    Raises:
        ImportError: if PyAV is not installed.
    """

    suffix = '.mp4'

    def __init__(self, file: Path, fps: float, size: tuple[int, int]):
        self.av = optional('av', 'video')
        self.container = self.av.open(str(file), 'w', options=dict(movflags='faststart'))
        # 1001 is the denominator of television's rates, such as 30000 / 1001. Without the color space of OpenCV's
        # conversion, players would take that of HDTV for large frames.
        rate, options = Fraction(fps).limit_denominator(1001), dict(colorspace='smpte170m')
        self.stream = self.container.add_stream('h264', rate, options=options)
        self.stream.width, self.stream.height = (side // 2 * 2 for side in size)
        self.stream.pix_fmt = 'yuv420p'

    def write(self, picture: np.ndarray) -> None:
        """Add a frame, bytes (H, W, 3), B G R."""
        # By OpenCV: PyAV's own conversion from B, G, R rounds down, which darkens pictures by three levels.
        yuv = cv2.cvtColor(picture[: self.stream.height, : self.stream.width], cv2.COLOR_BGR2YUV_I420)
        frame = self.av.VideoFrame.from_ndarray(yuv, 'yuv420p')
        self.container.mux(self.stream.encode(frame))

    def close(self) -> None:
        """End the video."""
        self.container.mux(self.stream.encode())
        self.container.close()


#: By the name that ``tools/predict.py --codec`` has for it.
CODECS = dict(vp8=WebM, h264=MP4)
