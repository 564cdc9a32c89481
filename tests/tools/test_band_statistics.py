"""Statistics of bands against NumPy's over all pixels at once."""

import numpy as np
import pytest
from toy_data import write_camvid, write_config

from tools.analysis_tools.band_statistics import band_statistics, images, main


def test_many_bands_of_images_of_many_sizes():
    rng = np.random.default_rng(0)
    # 16-bit values, small deviations around a large mean.
    stack = [60000 + rng.integers(9, size=(h, w, 8), dtype=np.uint16) for h, w in ((3, 4), (7, 2), (5, 5))]
    mean, std = band_statistics(stack)
    pixels = np.concatenate([image.reshape(-1, 8) for image in stack]).astype(float)
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-9)


def test_one_band_by_hand():
    mean, std = band_statistics([np.array([[0, 0]]), np.array([[6, 2]])])
    assert mean.tolist() == [2] and std.tolist() == [np.sqrt((4 + 4 + 16 + 0) / 4)]


def test_bands_must_agree():
    with pytest.raises(ValueError, match='image 1 has 3 bands, but those before it have 4'):
        band_statistics([np.zeros((2, 2, 4)), np.zeros((2, 2, 3))])
    with pytest.raises(ValueError, match='no images'):
        band_statistics([])


def test_a_config(tmp_path, capsys):
    from mmengine.config import Config
    from PIL import Image

    root = write_camvid(tmp_path / 'camvid', train=3, val=1)
    config = write_config(tmp_path, root)
    main([str(config)])
    pixels = np.concatenate([np.array(Image.open(path)).reshape(-1, 3) for path in root.glob('images/train/*.png')])
    expected = f'mean={np.round(pixels.mean(0), 4).tolist()}, std={np.round(pixels.std(0), 4).tolist()}'
    assert capsys.readouterr().out.splitlines()[-1] == expected  # in R G B, as bgr_to_rgb is on
    assert len(list(images(Config.fromfile(config)))) == 3
