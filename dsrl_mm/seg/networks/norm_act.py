"""Normalization and activation configs for any number of channels."""

from math import gcd


def fit_norm(norm_cfg: dict, channels: int) -> dict:
    """Reduce the groups of a group norm to a divisor of the channels; return other norms unchanged."""
    if norm_cfg['type'] != 'GN':
        return norm_cfg
    return dict(norm_cfg, num_groups=gcd(norm_cfg['num_groups'], channels))


def fit_act(act_cfg: dict, channels: int) -> dict:
    """Give PReLU one slope per channel unless ``num_parameters`` is set; return other activations unchanged."""
    return {'num_parameters': channels, **act_cfg} if act_cfg['type'] == 'PReLU' else act_cfg
