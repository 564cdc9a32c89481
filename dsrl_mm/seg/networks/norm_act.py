"""Normalisation and activation that fit a layer, whatever its number of channels."""

from math import gcd

__all__ = ['fit_act', 'fit_norm']


def fit_norm(norm_cfg: dict, channels: int) -> dict:
    """Group norm with as many of its groups as divide the channels; others as they are."""
    if norm_cfg['type'] != 'GN':
        return norm_cfg
    return dict(norm_cfg, num_groups=gcd(norm_cfg['num_groups'], channels))


def fit_act(act_cfg: dict, channels: int) -> dict:
    """PReLU with a slope per channel, unless its ``num_parameters`` says otherwise; others as they are."""
    return {'num_parameters': channels, **act_cfg} if act_cfg['type'] == 'PReLU' else act_cfg
