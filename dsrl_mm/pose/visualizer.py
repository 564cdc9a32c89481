"""Pictures of predicted keypoints beside the true ones."""

import numpy as np
from mmpose.registry import VISUALIZERS
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

__all__ = ['TruthBesideVisualizer']


@VISUALIZERS.register_module()
class TruthBesideVisualizer(PoseLocalVisualizer):
    """MMPose's visualizer, with the ground truth on the left wherever a data sample has it: not of detected boxes.

    MMPose's hook asks for predictions alone; what is asked for does not matter here.
    """

    def add_datasample(
        self, name: str, image: np.ndarray, data_sample: PoseDataSample, draw_gt: bool = True, **kwargs
    ) -> np.ndarray:
        """Draw a sample, as :meth:`mmpose.visualization.PoseLocalVisualizer.add_datasample` does.

        Args:
            name (str): identifies the picture.
            image (np.ndarray): RGB, (H, W, 3), uint8.
            data_sample (PoseDataSample): the truth is drawn if its ``gt_instances`` have ``keypoints``.
            draw_gt (bool): only counts for a sample without true keypoints. Defaults to True.
            **kwargs: MMPose's other options.

        Returns:
            np.ndarray: RGB, (H, 2 W, 3) with the truth, (H, W, 3) without; heatmaps, where drawn, below.
        """
        truth = data_sample.get('gt_instances', ())
        # With detected boxes (bbox_file), MMPose fills the place of the truth with zeros.
        known = 'keypoints' in truth and truth.keypoints.any()
        return super().add_datasample(name, image, data_sample, draw_gt=draw_gt or known, **kwargs)
