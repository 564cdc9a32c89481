"""Checks of what a command line names."""

import argparse
from pathlib import Path

__all__ = ['require_files']


def require_files(parser: argparse.ArgumentParser, *files: str | Path) -> None:
    """End a command with a line that names the first missing file or folder; addresses with '://' are not looked up.

    Args:
        parser (argparse.ArgumentParser): the command's.
        files (str | Path): as its arguments name them.
    """
    for file in files:
        if '://' not in str(file) and not Path(file).exists():
            parser.error(f'there is no {file}')
