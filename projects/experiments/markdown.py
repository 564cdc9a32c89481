"""Tables to be read as they are and as Markdown."""

from collections.abc import Sequence

__all__ = ['markdown_table']


def markdown_table(cells: Sequence[Sequence[str]]) -> str:
    """A table whose first line is its head, with the first column to the left and all others to the right."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        ' | '.join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        )
        for line in cells
    ]
    rule = '|'.join(['-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:])])
    return '\n'.join([f'| {lines[0]} |', f'|{rule}|', *(f'| {line} |' for line in lines[1:])]) + '\n'
