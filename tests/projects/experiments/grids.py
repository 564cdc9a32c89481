"""Grids, records and tools as files, with numbers of one's choice."""

from pathlib import Path

import yaml

from projects.experiments.records import append

DSRL, BASELINE = (f'configs/dsrl/dabnet_camvid_{form}.py' for form in ('early', 'baseline'))
#: Stands in for the training tool. An id says what goes wrong.
TRAIN = """
import json, os, signal, sys, time
from pathlib import Path
config, work_dir = Path(sys.argv[1]), Path(sys.argv[3])
note = lambda text: open(Path(__file__).parents[1] / 'notes', 'a').write(f'{text}\\n')
rehearsal = 'train_cfg.max_iters=1' in sys.argv
print(sys.argv[4:], os.environ['OMP_NUM_THREADS'])
note(f'{"rehearse" if rehearsal else "start"} {config.stem}')
if 'killed' in config.stem:
    os.kill(os.getpid(), signal.SIGKILL)
if 'fails' in config.stem and not rehearsal:
    sys.exit('no luck')
if ('rehearses' if rehearsal else 'waits') in config.stem:
    def stop(*_):
        work_dir.mkdir(parents=True)  # for a checkpoint
        note(f'stop {config.stem}')
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, lambda *_: note('interrupted'))
    note(f'wait {config.stem}')
    time.sleep(600)
log = work_dir / '1/vis_data/scalars.json'
log.parent.mkdir(parents=True, exist_ok=True)
entries = dict(loss=2.0, time=3.0, step=1), dict(loss=1.0, time=3.0, step=2), dict(mIoU=50.0, step=2)
if 'gpu' in config.stem:  # whose validation follows an iteration that is not logged
    entries[0]['memory'] = 0.5
log.write_text(''.join(json.dumps(entry) + '\\n' for entry in entries))
if 'unsaved' not in config.stem:
    (work_dir / f'iter_{1 if rehearsal else 2}.pth').touch()
note(f'end {config.stem}')
"""
TEST = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1], '1')
folder.mkdir(parents=True, exist_ok=True)
(folder / '1.json').write_text(json.dumps({'mIoU': 50.0, 'mBF': 25.0, 'sr': '--sr-metrics' in sys.argv, 'time': 1.0}))
"""


def write_grid(folder: Path, rows: dict | None = None, **keys) -> Path:
    """A grid file of two rows and two seeds."""
    rows = rows or dict(baseline=dict(id='baseline', config=BASELINE), DSRL=dict(id='dsrl', config=DSRL))
    file = folder / 'toy.yml'
    file.write_text(yaml.safe_dump(dict(title='A toy', seeds=[0, 1], rows=rows) | keys, sort_keys=False))
    return file


def write_run(folder: Path, id_: str, seed: int, miou: float, config: str = 'model = dict()', **metrics) -> None:
    """What a run leaves: two classes, and a boundary score of half the IoU."""
    metrics = {'mIoU': miou, 'mBF': miou / 2, 'IoU.road': miou, 'BF.road': miou / 2, 'IoU.pole': miou, **metrics}
    result = dict(metrics=metrics, curve=[[2, miou]], losses={}, train_seconds=1800.0, config=config)
    append(folder / 'toy.jsonl', dict(id=id_, seed=seed, **result, sessions=[{}, dict(peak_memory_mib=1024.0)]))


def write_tools(root: Path) -> Path:
    """A folder with stand-ins for the tools."""
    (root / 'tools').mkdir()
    for name, text in dict(train=TRAIN, test=TEST).items():
        (root / f'tools/{name}.py').write_text(text)
    return root
