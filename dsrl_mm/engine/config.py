"""Questions to a config, independent of how it is written."""

from collections.abc import Iterator, Mapping

from mmengine.registry import Registry

__all__ = ['builds', 'input_channels', 'plain_datasets', 'type_name']


def type_name(cfg: Mapping) -> str:
    """Return the name of a config's class: 'X' for ``type='X'``, ``'scope.X'``, ``'package.module.X'`` and ``X``.

    '' if there is none.
    """
    type_ = cfg.get('type') or ''
    return type_.split('.')[-1] if isinstance(type_, str) else type_.__name__


def builds(cfg: Mapping, registry: Registry, parent: type) -> bool:
    """Tell whether a config builds an instance of a class or of a subclass; an unknown type does not."""
    type_ = cfg.get('type')
    cls = registry.get(type_) if isinstance(type_, str) else type_
    return isinstance(cls, type) and issubclass(cls, parent)


def plain_datasets(cfg: Mapping, key: str, field: str) -> Iterator[tuple[str, Mapping]]:
    """Find the data sets in a data loader's config, inside wrappers such as RepeatDataset and ConcatDataset.

    Args:
        cfg (Mapping): of a data loader or a data set.
        key (str): its key in the whole config.
        field (str): what a config must have to be a data set's, such as 'data_prefix'.

    Yields:
        tuple[str, Mapping]: key and config of every data set.
    """
    if 'dataset' in cfg:
        yield from plain_datasets(cfg['dataset'], f'{key}.dataset', field)
    for i, inner in enumerate(cfg.get('datasets', ())):
        yield from plain_datasets(inner, f'{key}.datasets.{i}', field)
    if field in cfg:
        yield key, cfg


def input_channels(backbone: Mapping) -> int:
    """Return the image channels of a backbone's config, 3 by default."""
    return backbone.get('in_channels', 3)
