"""Write sod_golden.json with PySODMetrics, which does not go together with this project's packages.

python -m venv oracle && oracle/bin/pip install pysodmetrics==1.6.2
oracle/bin/python tests/uhr/metrics/make_sod_golden.py
"""

import json
import warnings
from pathlib import Path

import numpy as np
import py_sod_metrics
from sod_cases import cases

warnings.filterwarnings('ignore', message='This class will be removed')


def scores(pairs: list) -> dict[str, float]:
    """PySODMetrics's scores of pairs of prediction and mask."""
    names = ('MAE', 'Smeasure', 'Emeasure', 'Fmeasure')
    mae, s, e, f = (getattr(py_sod_metrics, name)() for name in names)
    for metric in (mae, s, e, f):
        for prediction, mask in pairs:
            metric.step(prediction, mask)
    e, pr, f = e.get_results()['em'], f.get_results()['pr'], f.get_results()['fm']
    above, below = 1.3 * pr['p'] * pr['r'], 0.3 * pr['p'] + pr['r']
    found = dict(MAE=mae.get_results()['mae'], S=s.get_results()['sm'])
    found |= dict(F_adaptive=f['adp'], F_mean=f['curve'].mean(), F_max=f['curve'].max())
    found |= dict(F_max_of_means=(above / np.where(below == 0, 1, below)).max())
    found |= dict(E_adaptive=e['adp'], E_mean=e['curve'].mean(), E_max=e['curve'].max())
    return {name: round(float(value), 9) for name, value in found.items()}


if __name__ == '__main__':
    golden = {name: scores([pair]) for name, pair in cases().items()} | {'all': scores([*cases().values()])}
    rows = [f'  {json.dumps(name)}: {json.dumps(values)}' for name, values in golden.items()]
    Path(__file__).with_name('sod_golden.json').write_text('{\n' + ',\n'.join(rows) + '\n}\n')
