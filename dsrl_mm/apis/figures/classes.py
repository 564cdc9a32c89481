"""IoU of every class with and without DSRL (Fig. 6 of the paper)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

#: Of the models: gray for the baseline, and colors that everybody can tell apart (Okabe and Ito).
_COLORS = ('0.65', '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')


def draw_classes(table: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw bars of the IoU, in groups of a class, and on the right their mean; of two models also the differences.

    Args:
        table (Mapping[str, Mapping[str, float]]): scores by name of the model: ``IoU.CLASS`` and ``mIoU`` in percent,
            as :func:`~dsrl_mm.apis.evaluate` and ``comparison.json`` have them. A class in neither labels nor
            predictions is NaN.

    Raises:
        ValueError: if the models have other classes, or none, or there are more than seven.
    """
    if len(table) > len(_COLORS):
        raise ValueError(f'{len(table)} models are too many for one picture: at most {len(_COLORS)}')
    classes = {name: [key[4:] for key in scores if key.startswith('IoU.')] for name, scores in table.items()}
    first, *others = classes
    if not classes[first]:
        raise ValueError(f'The scores of {first} have no IoU.CLASS, which ClassIoUMetric measures')
    for other in others:
        if classes[other] != classes[first]:
            raise ValueError(
                f'The classes of {first} are {", ".join(classes[first])}, but those of {other} are '
                f'{", ".join(classes[other])}. Compare models of the same classes.'
            )
    keys = [*(f'IoU.{name}' for name in classes[first]), 'mIoU']
    heights = {name: np.array([scores[key] for key in keys], float) for name, scores in table.items()}
    places, width = np.arange(len(keys), dtype=float), 0.8 / len(table)
    places[-1] += 0.5  # apart from the classes
    figure = Figure((max(4, 1 + len(keys) * (0.25 + 0.22 * len(table))), 3), layout='constrained')
    axis = figure.subplots()
    for i, (name, values) in enumerate(heights.items()):
        axis.bar(places + (i - (len(table) - 1) / 2) * width, values, width, color=_COLORS[i], label=name)
    if len(table) == 2:
        before, after = heights.values()
        for place, low, gain in zip(places, before, after - before):
            if np.isfinite(gain):
                higher = place + np.copysign(width / 2, gain)
                axis.text(higher, low + max(gain, 0) + 1, f'{gain:+.1f}', ha='center', fontsize='x-small')
    axis.set_xticks(places, [*classes[first], 'mean'], rotation=30, ha='right', rotation_mode='anchor')
    axis.set(ylabel='IoU (%)', ylim=(0, 100), xlim=(places[0] - 0.6, places[-1] + 0.6))
    axis.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside upper center', ncols=len(table), frameon=False)
    return figure
