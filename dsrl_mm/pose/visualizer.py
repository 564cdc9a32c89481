"""Visualizer of predicted keypoints next to the ground truth."""

import numpy as np
from mmpose.registry import VISUALIZERS
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer


@VISUALIZERS.register_module(force=True)
class GroundTruthVisualizer(PoseLocalVisualizer):
    """Visualizer that draws the ground truth on the left of the prediction, if the data sample has it.

    Samples of detected boxes have no ground truth. MMPose's hook passes ``draw_gt=False``, which is overridden.
    """

    def add_datasample(
        self, name: str, image: np.ndarray, data_sample: PoseDataSample, draw_gt: bool = True, **kwargs
    ) -> np.ndarray:
        """Draw a sample on an RGB image (H, W, 3), with the options of the base class.

        Returns:
            np.ndarray: RGB, (H, 2 W, 3) with the ground truth, (H, W, 3) without; heatmaps, if drawn, below.
        """
        truth = data_sample.get('gt_instances', ())
        # With detected boxes (bbox_file), MMPose fills the place of the truth with zeros.
        known = 'keypoints' in truth and truth.keypoints.any()
        return super().add_datasample(name, image, data_sample, draw_gt=draw_gt or known, **kwargs)
