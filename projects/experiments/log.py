"""Log of a training run, over all its sessions."""

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ['course', 'read_log']


def read_log(work_dir: Path) -> pd.DataFrame:
    """Read MMEngine's log of a work dir, which may be written right now, by iteration.

    An iteration that a later session repeated counts once, as that session logged it.
    """
    texts = (file.read_text() for file in sorted(work_dir.glob('*/vis_data/scalars.json')))
    lines = ''.join(text[: text.rfind('\n') + 1] for text in texts)  # without one that is not complete
    log = pd.read_json(StringIO(lines or '{"step": 0}'), lines=True, convert_dates=False)
    return log.groupby('step').last().reindex(columns=[*dict.fromkeys([*log, 'loss', 'time', 'memory', 'mIoU'])])


def course(log: pd.DataFrame, points: int = 50) -> dict[str, Any]:
    """Summarise a log.

    Returns:
        dict: ``curve`` (iterations and mIoU on the validation set, percent), ``losses`` (by name, at most ``points``
        evenly spaced ones, and their ``iteration``) and ``train_seconds`` (of all iterations at the median pace:
        without validation, pauses and what was done twice).
    """
    trained = log.dropna(subset='loss')
    losses = trained.filter(like='loss')[:: -(-len(trained) // points)].rename_axis('iteration').reset_index()
    return dict(
        curve=[*log['mIoU'].dropna().items()],
        losses=losses.to_dict('list'),
        train_seconds=trained['time'].median() * trained.index.max(),
    )
