"""Read configs, and answer questions to them that do not depend on how they are written."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import Registry

__all__ = ['builds', 'evaluate', 'input_channels', 'plain_datasets', 'read_config', 'type_name']


def read_config(path: str | Path, options: Mapping | None = None) -> Config:
    """Read a config file, override it, and evaluate its expressions.

    Args:
        path (str | Path): the config file.
        options (Mapping, optional): overrides by dotted key, as ``--cfg-options`` gives them. Defaults to None.
    """
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    return evaluate(cfg)


def evaluate(cfg: Config) -> Config:
    """Replace every string '${EXPRESSION}' by the value of the Python expression, in place.

    Its names are the config's variables (top-level keys), so that a value can depend on a variable that a child config
    or ``--cfg-options`` sets: ``num_classes='${len(classes)}'``. A config without such strings stays as it is.

    Args:
        cfg (Config): with all overrides applied. Expressions are evaluated in dicts and lists, not in tuples.

    Returns:
        Config: ``cfg``.

    Raises:
        ValueError: if an expression fails. The message names its key and its variables.
    """
    _evaluate(cfg, dict(cfg.items()), '')
    return cfg


def _evaluate(part: Config | dict | list, variables: dict, where: str) -> None:
    for key, value in enumerate(part) if isinstance(part, list) else list(part.items()):
        if isinstance(value, (dict, list)):
            _evaluate(value, variables, f'{where}{key}.')
        elif isinstance(value, str) and (expression := re.fullmatch(r'\$\{(.*)\}', value, re.DOTALL)):
            try:
                part[key] = eval(expression[1], dict(variables))
            except Exception as error:
                used = sorted(set(re.findall(r'[A-Za-z_]\w*', expression[1])) & set(variables))
                now = ', '.join(f'{name}={variables[name]!r}' for name in used)
                raise ValueError(
                    f"{where}{key}='{value}' cannot be evaluated ({error}). Set the config's variables that it "
                    f'depends on; now {now or "it has none"}'
                ) from error


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
