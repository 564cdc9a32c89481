import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from dsrl_mm.uhr import apply_segfix_offsets, load_cascade_psp, refine_classes


class TestSegFix:
    LABEL = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])

    def offsets(self, down=0.0, right=0.0):
        return torch.stack([torch.full(self.LABEL.shape, down), torch.full(self.LABEL.shape, right)])

    def test_by_hand(self):
        offsets, boundary = self.offsets(), torch.zeros(3, 4, dtype=torch.bool)
        offsets[:, 1, 1] = torch.tensor([1.0, 2.0])  # 5 takes the label a row below and two columns to the right
        offsets[:, 1, 3] = torch.tensor([-1.0, -2.0])  # 7: a row above, two columns to the left
        offsets[:, 0, 0] = torch.tensor([0.0, 1.0])  # 0 is not at a boundary
        boundary[1, 1] = boundary[1, 3] = boundary[2, 2] = True  # and 10 has no offset
        expected = self.LABEL.clone()
        expected[1, 1], expected[1, 3] = 11, 1
        assert torch.equal(apply_segfix_offsets(self.LABEL, offsets, boundary), expected)

    def test_fractions_never_make_a_new_label(self):
        everywhere = torch.ones(3, 4, dtype=torch.bool)
        label = torch.tensor([[0, 18, 0, 18]] * 3)
        for right in (0.4, 0.6):
            expected = label if right == 0.4 else torch.tensor([[18, 0, 18, 18]] * 3)
            assert torch.equal(apply_segfix_offsets(label, self.offsets(right=right), everywhere), expected)

    def test_beyond_the_image(self):
        everywhere = torch.ones(3, 4, dtype=torch.bool)
        moved = apply_segfix_offsets(self.LABEL, self.offsets(down=-9, right=9), everywhere)
        assert torch.equal(moved, torch.full_like(self.LABEL, 3))

    def test_labels_are_read_before_any_is_changed(self):
        everywhere = torch.ones(3, 4, dtype=torch.bool)
        moved = apply_segfix_offsets(self.LABEL, self.offsets(right=-1), everywhere)
        assert moved.tolist() == [[0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]]

    def test_batches_of_8_bit_labels(self):
        label = torch.stack([self.LABEL, self.LABEL + 20]).to(torch.uint8)[:, None]
        offsets = torch.stack([self.offsets(right=1), self.offsets(down=1)])[:, None]
        boundary = torch.rand(label.shape) > 0.5
        moved = apply_segfix_offsets(label, offsets, boundary)
        assert moved.dtype == torch.uint8
        for got, *given in zip(moved, label, offsets, boundary):
            assert torch.equal(got[0], apply_segfix_offsets(*(x[0] for x in given)))

    @pytest.mark.parametrize(('offsets', 'boundary'), [((2, 4, 3), (3, 4)), ((2, 3, 4), (4, 3)), ((1, 3, 4), (3, 4))])
    def test_shapes_must_fit(self, offsets, boundary):
        with pytest.raises(ValueError, match=r'offsets must have \(2, 3, 4\), got .* and boundary \(3, 4\), got'):
            apply_segfix_offsets(self.LABEL, torch.zeros(offsets), torch.ones(boundary, dtype=torch.bool))


class TestClassByClass:
    IMAGE = np.zeros((1, 6, 3), np.uint8)
    LABEL = np.array([[0, 0, 3, 3, 255, 7]], np.uint8)

    def test_by_hand(self):
        masks = {0: [200, 200, 140, 0, 200, 0], 3: [0, 210, 130, 90, 200, 0], 7: [0, 0, 0, 90, 200, 127]}
        asked = []

        def refine(image, mask):
            assert image is self.IMAGE and mask.dtype == np.uint8
            (class_id,) = np.unique(self.LABEL[mask == 255])
            asked.append(class_id)
            assert np.array_equal(mask, np.where(class_id == self.LABEL, 255, 0))
            return np.array([masks[class_id]], np.uint8)

        # 3 wins the second pixel with 210, 0 the third; no mask claims the fourth or the last; the fifth is ignored.
        before = self.LABEL.copy()
        assert refine_classes(self.IMAGE, self.LABEL, refine).tolist() == [[0, 3, 0, 3, 255, 7]]
        assert asked == [0, 3, 7]
        assert np.array_equal(self.LABEL, before)

    def test_masks_that_need_no_refinement(self):
        label = np.random.default_rng(0).integers(5, size=(9, 7))
        assert np.array_equal(refine_classes(np.zeros((9, 7, 3), np.uint8), label, lambda _, mask: mask), label)


class TestCascadePSP:
    def test_is_the_packages(self, monkeypatch):
        package = ModuleType('segmentation_refinement')

        class Refiner:
            def __init__(self, device='cpu'):
                self.device = device

            def refine(self, image, mask, fast=False, L=900):
                return self.device, image, mask, fast, L

        package.Refiner = Refiner
        monkeypatch.setitem(sys.modules, 'segmentation_refinement', package)
        assert load_cascade_psp('cuda', fast=True)('image', 'mask') == ('cuda', 'image', 'mask', True, 900)
        assert load_cascade_psp(L=600)('image', 'mask') == ('cpu', 'image', 'mask', False, 600)

    def test_says_how_to_install_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, 'segmentation_refinement', None)
        with pytest.raises(ImportError, match='Type: pip install segmentation-refinement'):
            load_cascade_psp()
