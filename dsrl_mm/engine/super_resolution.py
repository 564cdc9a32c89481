"""Mixin for the models of every task: a network that reads the reduced canvas, and training-only parts."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from ..core import Shared, SRAux, area_downsample, check_scale_factor, pad_to_multiple
from .loading import check_architecture


class SuperResolutionMixin:
    """Mixin that reduces the canvas for the network and builds the training-only parts, ``sr_aux``.

    It comes before the host's class, whose ``backbone`` and ``neck`` it runs. The model calls
    :meth:`init_super_resolution` after the host's constructor, :meth:`run_backbone` and :meth:`run_neck` in ``loss``.
    """

    def init_super_resolution(
        self, scale_factor: int, sr_aux: dict | None, stack: nn.Module | None = None, num_classes: int | None = None
    ) -> None:
        """Build the training-only parts from ``sr_aux``, and refuse checkpoints of other architectures.

        ``stack`` is the upsampling stack of the model's SSSR head, None for a plain head. ``num_classes`` is None if
        pixels have no labels.

        Raises:
            ValueError: if ``scale_factor`` is not an integer or too small.
        """
        self.scale_factor = check_scale_factor(scale_factor, least=1 if stack is None and sr_aux is None else 2)
        self.sr_aux = None
        if sr_aux is not None:
            channels = None if stack is None else (stack.channels, stack.out_channels)
            self.sr_aux = SRAux(**sr_aux, stack_channels=channels, num_classes=num_classes)
        self._register_load_state_dict_pre_hook(self._before_loading)

    def _before_loading(self, state_dict: dict, prefix: str, *_) -> None:
        check_architecture(self, state_dict, prefix)

    def network_input(self, inputs: Tensor) -> Tensor:
        """Reduce canvases (B, 3, H, W) to the network's input, (B, 3, H', W'); sides are rounded up."""
        return area_downsample(pad_to_multiple(inputs, self.scale_factor), self.scale_factor)

    def run_backbone(self, inputs: Tensor) -> Shared:
        """Run the part of the network that the branches share, on canvases (B, 3, H, W)."""
        image = self.network_input(inputs)
        return Shared(image, self.backbone(image))

    def run_neck(self, shared: Shared) -> Sequence[Tensor]:
        """Return the features for the task's heads."""
        return self.neck(shared.feats) if self.with_neck else shared.feats

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Extract the features for the task's heads from canvases (B, 3, H, W)."""
        return self.run_neck(self.run_backbone(inputs))

    @contextmanager
    def watch_backbone(self) -> Iterator[deque[Shared]]:
        """Keep the last run of the backbone inside the block, so that its features are not computed twice."""
        last = deque(maxlen=1)
        hook = self.backbone.register_forward_hook(lambda _, args, feats: last.append(Shared(args[0], feats)))
        try:
            yield last
        finally:
            hook.remove()

    def reconstruct(self, inputs: Tensor, shared: Shared | None = None) -> Tensor:
        """Rebuild the canvas by the SISR branch.

        Args:
            inputs (Tensor): the canvas, (B, 3, H, W), normalized; only its reduced version is read.
            shared (Shared, optional): the run of the backbone on ``inputs``. Defaults to None: it is run again.

        Returns:
            Tensor: (B, 3, H, W), normalized as ``inputs``.

        Raises:
            RuntimeError: if the model has no ``sr_aux``.
        """
        if self.sr_aux is None:
            raise RuntimeError(
                'This model has no SISR branch (sr_aux=None), so it cannot rebuild images. Leave '
                'test_cfg.with_sr at False, or use a config and a checkpoint with sr_aux.'
            )
        if shared is None:
            shared = self.run_backbone(inputs)
        return self.sr_aux.rebuild(shared, self.canvas_size(inputs))

    def canvas_size(self, inputs: Tensor) -> Sequence[int]:
        """Return H and W of the canvas in pixels."""
        return inputs.shape[-2:]
