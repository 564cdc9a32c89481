"""Grids, records and tools as files, with numbers of one's choice."""

import json
from pathlib import Path

import yaml

from projects.experiments.grid import Grid, load_grid
from projects.experiments.records import add_run

DSRL, BASELINE = (f'configs/dsrl/dabnet_camvid_{form}.py' for form in ('early', 'baseline'))
#: Stands in for the training tool: two iterations, unless the id says that it fails.
TRAIN = """
import json, os, sys, time
from pathlib import Path
config, work_dir = Path(sys.argv[1]), Path(sys.argv[3])
print(config.stem, sys.argv[4:], os.environ['OMP_NUM_THREADS'])
work_dir.parent.joinpath('trained').open('a').write('x')
if 'waits' in config.stem:
    time.sleep(60)
if 'fails' in config.stem:
    sys.exit('no luck')
log = work_dir / '1/vis_data/scalars.json'
log.parent.mkdir(parents=True, exist_ok=True)
entries = dict(loss=2.0, time=3.0, step=1), dict(loss=1.0, time=3.0, step=2), dict(mIoU=50.0, step=2)
log.write_text(''.join(json.dumps(entry) + '\\n' for entry in entries))
for i in (1, 2):
    (work_dir / f'iter_{i}.pth').touch()
"""
TEST = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[4], '1')
folder.mkdir(parents=True, exist_ok=True)
(folder / '1.json').write_text(json.dumps({'mIoU': 50.0, 'IoU.a': float('nan'), 'time': 1.0, 'options': sys.argv[5:]}))
"""


def write_grid(folder: Path, rows: dict | None = None, **keys) -> Path:
    """A grid file of two rows and two seeds."""
    rows = rows or dict(baseline=dict(id='baseline', config=BASELINE), DSRL=dict(id='dsrl', config=DSRL))
    file = folder / 'toy.yml'
    file.write_text(yaml.safe_dump(dict(title='A toy', seeds=[0, 1], rows=rows) | keys, sort_keys=False))
    return file


def make_grid(folder: Path, **keys) -> Grid:
    return load_grid(write_grid(folder, **keys))


def write_run(folder: Path, id_: str, seed: int, miou: float, config: str = 'model = dict()', **metrics) -> None:
    """What a run leaves: two classes, and a boundary score of half the IoU."""
    metrics = {'mIoU': miou, 'mBF': miou / 2, 'IoU.road': miou, 'BF.road': miou / 2, 'IoU.pole': miou, **metrics}
    result = dict(metrics=metrics, curve=[[2, miou]], losses={}, train_seconds=1800.0)
    add_run(folder, 'toy', id_, seed, config, result | dict(sessions=[dict(peak_memory_mib=1024.0)]))


def write_tools(root: Path) -> Path:
    """A folder with stand-ins for the tools."""
    (root / 'tools').mkdir()
    for name, text in dict(train=TRAIN, test=TEST).items():
        (root / f'tools/{name}.py').write_text(text)
    return root


def count(work_dir: Path) -> dict[str, int]:
    """How often each run was trained."""
    return {file.parent.name: len(file.read_text()) for file in sorted(work_dir.glob('*/trained'))}


def read(file: Path) -> dict:
    return json.loads(file.read_text())
