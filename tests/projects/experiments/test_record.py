"""Where a result says that it comes from."""

import pytest

from projects.experiments.grid import ROOT
from projects.experiments.record import Sessions, code_state, tidy


def test_the_commit_is_named():
    if not (ROOT / '.git').exists():
        assert code_state() is None
        return
    state = code_state()
    assert len(state['commit']) == 40 and isinstance(state['dirty'], bool)


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert code_state() is None


def test_sessions_outlive_their_process(tmp_path):
    file = tmp_path / 'sessions.json'
    Sessions(file).begin()  # and be killed
    second = Sessions(file)
    second.begin()
    second.end(peak_memory_mib=1234.567)
    first, second = Sessions(file).notes
    assert 'peak_memory_mib' not in first and second['peak_memory_mib'] == 1234.6


def test_damaged_notes_are_named(tmp_path):
    file = tmp_path / 'sessions.json'
    file.write_text('{"sessions": [')
    with pytest.raises(ValueError, match='sessions.json is damaged .* Remove it, and the training goes on'):
        Sessions(file)


def test_numbers_are_short_and_json():
    assert tidy(dict(a=[1.23456789, float('nan')], b=(3, 'text', None))) == dict(a=[1.2346, None], b=[3, 'text', None])
