"""Packages that only some commands need."""

from importlib import import_module, metadata
from types import ModuleType


def optional(package: str, extra: str) -> ModuleType:
    """Import a package of an extra.

    Raises:
        ImportError: if it is not installed. The message names the extra.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{package} is not installed. Type: pip install "dsrl_mm[{extra}]" torch=={metadata.version("torch")}, so '
            'that pip keeps this torch'
        ) from error
