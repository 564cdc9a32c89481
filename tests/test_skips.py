"""``--no-skips``, with which CI runs: a test that does not run fails, but for real data that is not there."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name('conftest.py')


@pytest.fixture
def suite(pytester, monkeypatch):
    monkeypatch.setenv('HERE_ROOT', 'folder')
    monkeypatch.delenv('AWAY_ROOT', raising=False)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(
        test_cases="""
        import pytest

        @pytest.mark.needs('HERE_ROOT')
        def test_on_data_that_is_there(): pass

        @pytest.mark.needs('AWAY_ROOT')
        def test_on_data_that_is_not_there(): assert False

        @pytest.mark.needs('HERE_ROOT')
        @pytest.mark.skipif(True, reason='the folder lacks a file')
        def test_on_data_that_is_incomplete(): pass

        def test_skips_itself(): pytest.importorskip('no_such_module')
        """,
        test_file="import pytest; pytest.importorskip('no_such_module')",
    )
    return pytester


def test_skips_are_let_pass_without(suite):
    suite.runpytest().assert_outcomes(passed=1, skipped=4)


def test_skips_fail_with(suite):
    result = suite.runpytest('--no-skips', '--continue-on-collection-errors')
    result.assert_outcomes(passed=1, skipped=1, failed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        ['*the folder lacks a file (--no-skips)*', "*import 'no_such_module'*(--no-skips)*"]
    )
