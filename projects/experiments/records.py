"""Records of runs: a JSON file per grid with the cost of its networks and the records by id.

A record holds the composed config that an id was trained with, as text, and its runs by seed. Records are found by id,
so that options, files and classes can be renamed.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsrl_mm.engine.checkpoint import write_whole

__all__ = ['FOLDER', 'add_run', 'changing', 'read_costs', 'read_json', 'read_records', 'write_json']

#: The committed records.
FOLDER = Path(__file__).parent / 'records'


def read_json(file: Path) -> Any:
    """Read a JSON file. Errors name the file."""
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise ValueError(f'{file} is damaged: {error}. Restore it, or remove it') from error


def _text(value: Any, levels: int) -> str:
    """Format JSON with one line per entry down to a level."""
    if not levels or not value or not isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, list):
        return '[\n' + ',\n'.join(_text(entry, levels - 1) for entry in value) + '\n]'
    return '{\n' + ',\n'.join(f'{json.dumps(key)}: {_text(value[key], levels - 1)}' for key in value) + '\n}'


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file atomically. Numbers have five digits; NaN, which JSON does not support, becomes null."""
    value = json.loads(json.dumps(value), parse_float=lambda x: float(f'{float(x):.5g}'), parse_constant=lambda _: None)
    write_whole(file, f'{_text(value, 5)}\n'.encode())


def read_records(folder: Path) -> dict[str, dict]:
    """Read all records by id: ``config`` (the lines of the text) and ``runs`` (by seed, as a string)."""
    records = {}
    for file in sorted(folder.glob('*.json')):
        records |= read_json(file)['records']
    return records


def read_costs(folder: Path, grid: str) -> dict:
    """Read the result of :func:`~projects.experiments.cost.measure` for a grid; without rows if not measured."""
    file = folder / f'{grid}.json'
    return read_json(file)['cost'] if file.exists() else dict(rows={})


@contextmanager
def changing(folder: Path, grid: str, id_: str | None = None) -> Iterator[dict]:
    """Lock and yield the content of a grid's file, or of the file with an id, and write it after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        contents = {file: read_json(file) for file in folder.glob('*.json')}
        file = next((file for file in contents if id_ in contents[file]['records']), folder / f'{grid}.json')
        content = contents.get(file, dict(cost=dict(rows={}), records={}))
        yield content
        write_json(file, content)
    finally:
        os.close(lock)


def add_run(folder: Path, grid: str, id_: str, seed: int, config: str, run: dict) -> None:
    """Add a run to the record of an id. A config that differs from the record's is kept with the run."""
    with changing(folder, grid, id_) as content:
        record = content['records'].setdefault(id_, dict(config=config.splitlines(), runs={}))
        if record['config'] != config.splitlines():
            run = run | dict(config=config.splitlines())
        record['runs'] = dict(sorted({**record['runs'], str(seed): run}.items(), key=lambda item: int(item[0])))
