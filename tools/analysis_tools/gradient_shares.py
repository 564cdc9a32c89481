"""Measure the size and direction of every loss's gradient on the shared features, on training batches.

The weights of the losses (w1 and w2) do not show this: means over pixels and over pairs of pixels have gradients of
different orders of magnitude.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from statistics import mean

import torch
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, load_checkpoint
from rich.progress import track
from tabulate import tabulate
from torch import Tensor, nn

from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.arguments import OptionsAction, positive, run
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.reader import TrustCheckpoint

__all__ = ['loss_gradients', 'main', 'shares']


def loss_gradients(model: nn.Module, batch: dict) -> dict[str, tuple[float, list[Tensor]]]:
    """Compute every loss of a batch and its gradient with respect to each of the backbone's outputs.

    Args:
        model (nn.Module): in training mode, with a ``backbone``.
        batch (dict): from a data loader.

    Returns:
        dict[str, tuple[float, list[Tensor]]]: by the loss's name in the log, its weighted value and a gradient per
        output, including what flows through later outputs; zeros if it does not depend on an output.
    """
    shared = []
    hook = model.backbone.register_forward_hook(lambda _, inputs, outputs: shared.extend(outputs))
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    hook.remove()
    # As MMEngine's parse_losses: what has "loss" in its name is summed, the rest is only logged.
    losses = {name: loss for name, loss in losses.items() if 'loss' in name}
    return {
        name: (loss.item(), torch.autograd.grad(loss, shared, retain_graph=True, materialize_grads=True))
        for name, loss in losses.items()
    }


def shares(model: nn.Module, batches: Iterable[dict]) -> dict[str, dict[str, float]]:
    """Compute each loss's share of the gradient on the shared features, as means over batches.

    Args:
        model (nn.Module): see :func:`loss_gradients`.
        batches (Iterable[dict]): see :func:`loss_gradients`.

    Returns:
        dict[str, dict[str, float]]: by loss, its value (``loss``); its share of the sum of gradient norms on output I
        (``output I %``); the cosine of its gradient on all outputs with that of the first loss, the task's own
        (``cosine``).
    """
    rows = defaultdict(list)
    for batch in batches:
        found = loss_gradients(model, batch)
        own = next(iter(found.values()))[1]
        totals = [sum(grads[i].norm() for _, grads in found.values()) for i in range(len(own))]
        for name, (value, grads) in found.items():
            parts = {f'output {i} %': 100 * (g.norm() / t).item() for i, (g, t) in enumerate(zip(grads, totals)) if t}
            cosine = torch.cosine_similarity(_flat(grads), _flat(own), dim=0).item()
            rows[name].append(dict(loss=value, **parts, cosine=cosine))
    return {
        name: {key: mean(row[key] for row in per_batch) for key in per_batch[0]} for name, per_batch in rows.items()
    }


def _flat(grads: Sequence[Tensor]) -> Tensor:
    return torch.cat([grad.flatten() for grad in grads])


def main(argv: Sequence[str] | None = None) -> None:
    """Print each loss's share of the gradient on the features that the branches share."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='of a training; without, the weights that one starts from')
    parser.add_argument('--batches', type=positive, default=10)
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help="settings that override the config's")
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    args = parser.parse_args(argv)
    quiet()
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).to(get_device()).train()
    model.init_weights()
    if args.checkpoint:
        load_checkpoint(model, args.checkpoint, map_location='cpu')
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = track(islice(loader, args.batches), 'Differentiating', total=args.batches)
    table = shares(model, batches)
    columns = list(next(iter(table.values())))
    rows = [[name, *row.values()] for name, row in table.items()]
    print(tabulate(rows, ['', *columns], 'pipe', floatfmt='.3g'))


if __name__ == '__main__':
    run(main)
