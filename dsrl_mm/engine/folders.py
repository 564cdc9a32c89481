"""Folders of files that belong together."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def written_together(out_dir: Path) -> Iterator[Path]:
    """Give an empty folder whose files replace those of ``out_dir`` at the end, unless there is an error.

    It lies in ``out_dir``, so that a full disk and missing rights show before anything is replaced.

    Args:
        out_dir (Path): created if missing, and removed again if nothing is written.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=out_dir, prefix='.') as folder:
            yield Path(folder)
            for file in Path(folder).iterdir():
                file.replace(out_dir / file.name)
    finally:
        with suppress(OSError):  # it is not empty
            out_dir.rmdir()
