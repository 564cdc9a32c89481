"""Predictions and masks to compare the metrics of salient objects on; NumPy alone, for the oracle's environment."""

import numpy as np


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gray predictions and masks of 0 and 255, both (H, W) and uint8, by name."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :31]
    disk = np.where((rows - 9) ** 2 + (columns - 12) ** 2 < 50, 255, 0)
    two = np.maximum(disk, np.where((rows > 17) & (columns > 22), 255, 0))
    soft = 255 / (1 + np.exp((np.hypot(rows - 11, columns - 14) - 7) / 2))
    noise = rng.integers(256, size=(24, 31))
    pixel = np.zeros((24, 31))
    pixel[8, 20] = 255
    found = dict(
        soft=(soft, disk),
        soft_of_two=(soft, two),
        noise=(noise, two),
        noisy=((3 * soft + noise) // 4, disk),
        narrow_range=(100 + soft // 16, disk),
        perfect=(two, two),
        inverted=(255 - two, two),
        black=(0 * disk, disk),
        gray=(0 * disk + 77, disk),
        empty_mask=(soft, 0 * disk),
        empty_mask_black=(0 * disk, 0 * disk),
        full_mask=(soft, 0 * disk + 255),
        one_pixel=(soft, pixel),
        one_pixel_found=(pixel, pixel),
        odd_sides=(noise[:7, :5], two[:7, 9:14]),
    )
    return {name: tuple(part.astype(np.uint8) for part in pair) for name, pair in found.items()}
