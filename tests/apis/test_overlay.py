import cv2
import numpy as np

from dsrl_mm.apis.overlay import draw_prediction, to_picture
from dsrl_mm.apis.predictors import Prediction

META = dict(palette=[[0, 0, 0], [200, 0, 40]])  # R, G, B


def drawn(prediction, opacity=0.5, size=(1, 2)):
    return draw_prediction(np.full((*size, 3), 100, np.uint8), prediction, META, opacity)


def test_classes_are_blended_with_the_image():
    mask = np.array([[0, 1]], np.uint8)
    assert drawn(Prediction(mask)).tolist() == [[[50, 50, 50], [70, 50, 150]]]  # B, G, R
    assert (draw_prediction(np.full((1, 2, 3), 100, np.uint8), Prediction(mask), META) == drawn(Prediction(mask))).all()
    assert drawn(Prediction(mask), 0).tolist() == [[[100] * 3] * 2]
    assert drawn(Prediction(mask), 1).tolist() == [[[0, 0, 0], [40, 0, 200]]]


def test_ids_beyond_a_byte():
    palette = [[0, 0, 0]] * 300 + [[1, 2, 3]]
    picture = draw_prediction(
        np.zeros((1, 1, 3), np.uint8), Prediction(np.array([[300]], np.uint16)), dict(palette=palette), 1
    )
    assert picture.tolist() == [[[3, 2, 1]]]


def test_an_image_is_enlarged_to_a_larger_mask():
    assert drawn(Prediction(np.zeros((4, 6), np.uint8)), size=(2, 3)).shape == (4, 6, 3)


def test_an_object_is_drawn_as_far_as_it_is_probable():
    probability = np.array([[0, 0.5]], np.float32)
    picture = drawn(Prediction((probability > 0.5).astype(np.uint8), probability), 1.0)
    # A half of the image and a half of the color; the image's pixels stay where there is no object.
    assert np.abs(picture.astype(int) - [[[100] * 3, [70, 50, 150]]]).max() <= 1


def test_an_object_that_is_the_only_class():
    probability = np.ones((1, 1), np.float32)
    picture = draw_prediction(
        np.zeros((1, 1, 3), np.uint8), Prediction(probability > 0.5, probability), dict(palette=[[1, 2, 3]]), 1
    )
    assert picture.tolist() == [[[3, 2, 1]]]


def test_keypoints_and_their_links():
    meta = dict(palette=[[255, 0, 0], [0, 255, 0], [0, 0, 255]], skeleton_links=[(0, 1), (1, 2), (2, 0)])
    points = np.array([[[5, 20, 0.9], [35, 20, 0.3], [20, 35, 0.2]]], np.float32)
    image = np.zeros((40, 40, 3), np.uint8)
    picture = draw_prediction(image, Prediction(keypoints=points), meta)
    assert picture[20, 5].tolist() == [0, 0, 255]
    assert picture[20, 35].tolist() == [0, 255, 0]
    assert picture[20, 20].argmax() == 1 and picture[20, 20, 1] > 200  # the link has the color of its end
    assert not picture[24:].any()  # too improbable
    assert not image.any()


def test_any_image_becomes_a_picture():
    bands = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)
    assert (to_picture(bands) == bands[..., :3]).all()
    assert (to_picture(bands[..., 1:3]) == bands[..., 1:2]).all()  # of two bands, the first
    gray = np.array([[0, 1000], [2000, 4000]], np.uint16)
    assert to_picture(gray)[..., 0].tolist() == [[0, 64], [128, 255]]
    assert to_picture(gray).shape == (2, 2, 3)


def test_is_what_opencvs_color_map_gives():
    rng, size = np.random.default_rng(0), (36, 48)
    palette, mask = rng.integers(256, size=(256, 3), dtype=np.uint8), rng.integers(256, size=size, dtype=np.uint8)
    picture = draw_prediction(np.zeros((*size, 3), np.uint8), Prediction(mask), dict(palette=palette), 1)
    assert (picture == cv2.applyColorMap(mask, palette[:, None, ::-1].copy())).all()
