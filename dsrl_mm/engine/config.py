"""Questions to a config, independent of how it is written."""

from collections.abc import Mapping

from mmengine.registry import Registry

__all__ = ['builds', 'input_channels', 'type_name']


def type_name(cfg: Mapping) -> str:
    """The name of the class that a config is for: 'X' of ``type='X'``, ``'scope.X'``, ``'package.module.X'`` and ``X``.

    '' if there is none.
    """
    type_ = cfg.get('type') or ''
    return type_.split('.')[-1] if isinstance(type_, str) else type_.__name__


def builds(cfg: Mapping, registry: Registry, parent: type) -> bool:
    """Whether a config builds an instance of a class or of a subclass; an unknown type does not."""
    type_ = cfg.get('type')
    cls = registry.get(type_) if isinstance(type_, str) else type_
    return isinstance(cls, type) and issubclass(cls, parent)


def input_channels(backbone: Mapping) -> int:
    """Channels of the images that a backbone's config is for; 3 unless it says otherwise."""
    return backbone.get('in_channels', 3)
