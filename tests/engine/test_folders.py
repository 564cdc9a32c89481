import pytest

from dsrl_mm.engine.folders import written_together


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_all_files_replace_those_of_their_names(tmp_path):
    (tmp_path / 'a').write_text('old')
    (tmp_path / 'c').write_text('other')
    with written_together(tmp_path) as folder:
        (folder / 'a').write_text('new')
        (folder / 'b').write_text('new')
    assert contents(tmp_path) == dict(a='new', b='new', c='other')


def test_none_does_after_an_error(tmp_path):
    (tmp_path / 'a').write_text('old')
    for out_dir in (tmp_path, tmp_path / 'deep/er'):
        with pytest.raises(OSError, match='No space left'), written_together(out_dir) as folder:
            (folder / 'a').write_text('new')
            raise OSError('No space left on device')
    assert contents(tmp_path / 'deep') == {}
    (tmp_path / 'deep').rmdir()
    assert contents(tmp_path) == dict(a='old')


def test_it_is_on_the_same_disk(tmp_path):
    with written_together(tmp_path / 'out') as folder:
        assert folder.parent == tmp_path / 'out'
