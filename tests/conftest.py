"""Every test starts from the same random state, in its task's scope; ``--no-skips`` lets none be left out."""

import gc
import logging
import os

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collect_file():
    """Import the package before any test, and not in the process that only hands tests out to others."""
    import dsrl_mm.seg  # noqa: F401  (first of all: it stands in for compiled parts that mmseg imports)


@pytest.fixture(autouse=True)
def _same_start():
    import torch

    torch.manual_seed(0)


@pytest.fixture
def log():
    """The lines that MMEngine logs, but for debugging."""
    from mmengine.logging import MMLogger

    lines = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def pytest_collection_finish():
    """Leave what is imported out of the search for garbage, which MMEngine starts with every data set it loads."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser):
    parser.addoption('--no-skips', action='store_true', help='fail where a test or a file is skipped; CI does')


def _unset(item: pytest.Item) -> list[str]:
    """Variables that a test needs by ``@pytest.mark.needs(VARIABLE)`` and that are not set."""
    return [name for mark in item.iter_markers('needs') for name in mark.args if name not in os.environ]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    from mmengine.registry import init_default_scope

    # Before the fixtures, also those of whole modules.
    init_default_scope('mmpose' if item.path.parent.name == 'pose' else 'mmseg')
    if unset := _unset(item):
        pytest.skip(f'{" and ".join(unset)} is not set')


def _fail_if_skipped(report, config):
    if report.skipped and config.getoption('no_skips'):
        report.outcome = 'failed'
        report.longrepr = f'{report.longrepr[-1]} (--no-skips)'
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    return report if _unset(item) else _fail_if_skipped(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _fail_if_skipped((yield), collector.config)
