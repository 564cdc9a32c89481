"""Checks of what a command line names, and the end of a command that refuses it."""

import argparse
import gc
import json
import re
import sys
from collections.abc import Callable
from dis import opmap
from pathlib import Path
from traceback import walk_tb
from typing import Any

from mmengine.config import DictAction


class OptionsAction(DictAction):
    """MMEngine's action of ``--cfg-options``, which ends a command with one line if something is no KEY=VALUE."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *others) -> None:
        """Take the values that follow the option."""
        for value in values:
            if '=' not in value:
                parser.error(f'{"/".join(self.option_strings)}: {value} is no KEY=VALUE')
        super().__call__(parser, namespace, values, *others)


def positive(text: str) -> int:
    """Type of arguments that are integers of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is less than 1')
    return value


def read_json(file: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: if it is none.
    """
    try:
        return json.loads(Path(file).read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{file} is no JSON: {error}') from error


def require_files(parser: argparse.ArgumentParser, *files: str | Path) -> None:
    """End a command with a line that names the first missing file or folder; addresses with '://' are not looked up.

    Args:
        parser (argparse.ArgumentParser): the command's.
        files (str | Path): as its arguments name them.
    """
    for file in files:
        if '://' not in str(file) and not Path(file).exists():
            parser.error(f'there is no {file}')


def run(main: Callable[[], Any]) -> Any:
    """Run a command. What it refuses ends it with one line on stderr and status 1; faults keep their traceback.

    Args:
        main (Callable): the command, which reads its arguments itself.
    """
    gc.freeze()  # what is imported: MMEngine searches for garbage whenever it loads a data set, else for 0.2 s
    try:
        return main()
    except Exception as error:
        message = _refusal(error)
        if message is None:
            raise
        sys.exit(f'{Path(sys.argv[0]).name}: error: {message}')


def _refusal(error: Exception) -> str | None:
    """Return the message of an error that the person at the command line can mend; None of others.

    These are what this project raises itself, what MMEngine says of a config, and files that cannot be opened.
    """
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    modules = [frame.f_globals.get('__name__', '') for frame, _ in walk_tb(error.__traceback__)]
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    # By a statement: an operation that fails, such as int('a'), is a fault in whatever module it is.
    raised = last.tb_frame.f_code.co_code[last.tb_lasti] == opmap['RAISE_VARARGS']
    if raised and modules[-1].split('.')[0] in ('__main__', 'dsrl_mm', 'projects'):
        return message
    if not modules[-1]:  # a config's own code, which MMEngine evaluates
        return f'{last.tb_frame.f_code.co_filename}, line {last.tb_lineno}: {message}'
    if raised and modules[-1].startswith(('mmengine.config.', 'mmengine.registry.')):
        return message
    if isinstance(error, FileNotFoundError) and any('.dataset' in module for module in modules):
        return f'{message}. Set data_root in the config, or the variable that it reads, such as CAMVID_ROOT.'
    if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.filename):
        return message
    built = 'mmengine.registry.build_functions' in modules and isinstance(error, TypeError)
    if built and re.search(r'__init__\(\) (got an unexpected|missing \d+ required)', message):
        return f'{message}. Check the keys of its dict in the config.'
    return None
