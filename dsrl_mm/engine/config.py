"""Read configs, and answer questions to them that do not depend on how they are written."""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner, Runner

#: Top-level keys of a config that MMEngine's runners read.
RUNNER_KEYS = {'custom_imports'} | inspect.signature(Runner.__init__).parameters.keys() - {'self', 'cfg'}
_ALSO_READ = inspect.signature(FlexibleRunner.__init__).parameters.keys() | {
    *('activation_checkpointing', 'compile', 'efficient_conv_bn_eval', 'find_unused_parameters', 'model_wrapper_cfg'),
    *('check_data', 'runner_type', 'sync_bn', 'test_pipeline', 'tta_model', 'tta_pipeline'),
}


def read_config(path: str | Path, options: Mapping | None = None, check: bool = False, **parse: bool) -> Config:
    """Read a config file, override it, and evaluate its expressions.

    Args:
        path (str | Path): the config file.
        options (Mapping, optional): overrides by dotted key, as ``--cfg-options`` gives them. Defaults to None.
        check (bool): whether to refuse misspelled keys of the file. Defaults to False.
        **parse (bool): of :func:`parse_config`.

    Raises:
        ValueError: as :func:`parse_config`, or for an option or a key that nothing reads.
    """
    cfg = parse_config(path, **parse)
    cfg.merge_from_dict(options or {})
    if _is_known_code(cfg):
        if check:
            _check_keys(Path(path), cfg)
        check_options(cfg, options or {})
    return evaluate(cfg)


def parse_config(path: str | Path, **options: bool) -> Config:
    """Read a config file as MMEngine's ``Config.fromfile`` does.

    Raises:
        ValueError: if the file is no Python, perhaps because of an environment variable with an apostrophe.
    """
    try:
        return Config.fromfile(path, **options)
    except SyntaxError as error:
        # MMEngine pastes the values of environment variables into the text.
        quoted = [name for name, value in os.environ.items() if "'" in value and name.endswith('_ROOT')]
        if not quoted:
            raise ValueError(f'{path} is no Python: {error}') from error
        raise ValueError(
            f'{path} is no Python with the values of environment variables put in: an apostrophe in {quoted[0]}='
            f'{os.environ[quoted[0]]} ends its text. Rename the folder, or name a link to it without one.'
        ) from error


def test_pipeline(cfg: Config) -> list[dict]:
    """Return the steps that the test set runs; without a test set, ``test_pipeline``, which may be empty."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset', {})
    return dataset.get('pipeline') or cfg.get('test_pipeline') or []


def nearest(name: str, names: Iterable[str]) -> str:
    """Find the most similar of some dotted names, first by their last part."""

    def similarity(other: str) -> tuple[float, float]:
        ends = (key.rpartition('.')[2] for key in (name, other))
        return SequenceMatcher(None, *ends).ratio(), SequenceMatcher(None, name, other).ratio()

    return max(names, key=similarity)


def flat(value: Any, name: str = '') -> dict[str, Any]:
    """Flatten nested mappings, and lists of them, to values by dotted keys."""
    if isinstance(value, (list, tuple)) and any(isinstance(entry, Mapping) for entry in value):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {name: [*value] if isinstance(value, (list, tuple)) else value}
    return {leaf: inner for key in value for leaf, inner in flat(value[key], f'{name}.{key}'.strip('.')).items()}


def from_known_package(name: str) -> bool:
    """Whether a module or a class belongs to the host libraries or to this one, whose code is known."""
    return name.split('.')[0] in ('dsrl_mm', 'mmengine', 'mmpose', 'mmseg', 'projects')


def _is_known_code(cfg: Config) -> bool:
    """Tell whether nothing but known packages reads the config: modules in ``custom_imports`` may read any key."""
    imports = (cfg.get('custom_imports') or {}).get('imports') or ()
    return all(map(from_known_package, [imports] if isinstance(imports, str) else imports))


def _check_keys(path: Path, cfg: Config) -> None:
    """Refuse a name in a config file that nothing reads and that is almost a key which the file does not set."""
    own = re.findall(r'^(\w+)\s*=', path.read_text(), re.MULTILINE)
    for name in {*own} - RUNNER_KEYS - _ALSO_READ:
        near = get_close_matches(name, RUNNER_KEYS, 1, cutoff=0.85)
        if near and near[0] not in own and len(re.findall(rf'\b{name}\b', cfg.text)) == 1:
            raise ValueError(f'{path}: nothing reads {name}. Did you mean {near[0]}?')


def check_options(cfg: Config, options: Iterable[str]) -> None:
    """Check that something reads every option, a dotted key: a runner, or an expression of the config.

    Args:
        cfg (Config): with the options, before :func:`evaluate`.
        options (Iterable[str]): dotted keys.

    Raises:
        ValueError: if nothing reads one.
    """
    expressions = [
        text for value in flat(cfg.to_dict()).values() for text in re.findall(r'\$\{.*', str(value), re.DOTALL)
    ]
    for key in options:
        root = key.split('.')[0]
        if root in RUNNER_KEYS | _ALSO_READ or any(re.search(rf'\b{root}\b', text) for text in expressions):
            continue
        names = flat({name: value for name, value in cfg.to_dict().items() if name in RUNNER_KEYS | _ALSO_READ})
        raise ValueError(
            f'--cfg-options {key}: nothing reads it; a variable of the file was already replaced by its value where it '
            f'is used. Did you mean {nearest(key, {*names, *RUNNER_KEYS})}?'
        )


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


def class_of(cfg: Mapping, registry: Registry) -> Any:
    """Return the class, or the function, that a config builds with; None for an unknown type."""
    type_ = cfg.get('type')
    return registry.get(type_) if isinstance(type_, str) else type_


def builds(cfg: Mapping, registry: Registry, parent: type) -> bool:
    """Tell whether a config builds an instance of a class or of a subclass; an unknown type does not."""
    cls = class_of(cfg, registry)
    return isinstance(cls, type) and issubclass(cls, parent)


def plain_datasets(cfg: Mapping, key: str, field: str) -> Iterator[tuple[str, Mapping]]:
    """Yield key and config of every data set in a config of a data loader or of a data set, whose own key is ``key``.

    Looks into wrappers such as RepeatDataset and ConcatDataset. A data set has ``field``, such as 'data_prefix'.
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
