"""What a training wrote of its course, over all sessions that it took."""

import json
from pathlib import Path
from statistics import median

__all__ = ['TrainingLog']


def _entries(file: Path) -> list[dict]:
    """The complete lines of a log that may be written right now."""
    text = file.read_text()
    return [json.loads(line) for line in text[: text.rfind('\n') + 1].splitlines()]


class TrainingLog:
    """MMEngine's log of a work dir. Iterations that a later session trained anew count once, as it logged them.

    Args:
        work_dir (Path): of the training; without a log, everything is empty.
    """

    def __init__(self, work_dir: Path):
        self.trained, self.tested = {}, {}
        self.iterations = 0  # done
        for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
            for entry in _entries(file):
                (self.trained if 'loss' in entry else self.tested)[entry['step']] = entry
                self.iterations = entry['step']

    @property
    def curve(self) -> list[tuple[int, float]]:
        """Iterations and mIoU on the validation set, in percent."""
        return [(step, entry['mIoU']) for step, entry in sorted(self.tested.items()) if 'mIoU' in entry]

    def losses(self, points: int = 50) -> dict[str, list[float]]:
        """The losses by name, and ``iteration``: evenly spaced ones, at most ``points``."""
        steps = sorted(self.trained)
        steps = steps[:: -(-len(steps) // points) or 1]
        names = [name for name in self.trained[steps[0]] if 'loss' in name] if steps else []
        return dict(iteration=steps) | {name: [self.trained[step][name] for step in steps] for name in names}

    @property
    def seconds_per_iteration(self) -> float | None:
        """The median over what was logged; None before that."""
        return median(entry['time'] for entry in self.trained.values()) if self.trained else None

    @property
    def seconds(self) -> float:
        """Of training: all iterations at the median pace, so without validation, pauses and what was done twice."""
        return (self.seconds_per_iteration or 0) * max(self.trained, default=0)

    @property
    def gpu_memory_mib(self) -> float | None:
        """The most that was allocated on the GPU, as MMEngine logs it; None on a CPU."""
        return max((entry['memory'] for entry in self.trained.values() if 'memory' in entry), default=None)
