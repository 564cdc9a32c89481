"""What a config says, however it is written."""

from collections.abc import Mapping

__all__ = ['input_channels', 'type_name']


def type_name(cfg: Mapping) -> str:
    """The name of the class that a config is for: 'X' of ``type='X'``, ``'scope.X'``, ``'package.module.X'`` and ``X``.

    '' where there is none.
    """
    type_ = cfg.get('type') or ''
    return type_.split('.')[-1] if isinstance(type_, str) else type_.__name__


def input_channels(backbone: Mapping) -> int:
    """Channels of the images that a backbone's config is for; 3 unless it says otherwise."""
    return backbone.get('in_channels', 3)
