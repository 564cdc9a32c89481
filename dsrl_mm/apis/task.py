"""The choice of a config's task."""

from mmengine.config import Config

from ..engine.task import Task


def task_of(cfg: Config) -> Task:
    """Choose the task of a config by its ``default_scope``; only the chosen task's library is imported.

    Raises:
        ValueError: if the scope is of another library.
    """
    scope = cfg.get('default_scope', 'mmseg')
    if scope == 'mmseg':
        from ..seg.task import SegTask

        return SegTask()
    if scope == 'mmpose':
        from ..pose.task import PoseTask

        return PoseTask()
    raise ValueError(f"default_scope is {scope!r}, but dsrl_mm is for 'mmseg' and 'mmpose'. Set it to the task's.")
