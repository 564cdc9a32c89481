import argparse

import pytest

from dsrl_mm.engine.arguments import require_files


def test_files_folders_and_addresses(tmp_path, capsys):
    parser = argparse.ArgumentParser(prog='train.py')
    require_files(parser, __file__, tmp_path, 'https://example.org/model.pth')
    with pytest.raises(SystemExit):
        require_files(parser, tmp_path, tmp_path / 'a.py', 'b.py')
    assert capsys.readouterr().err.endswith(f'train.py: error: there is no {tmp_path}/a.py\n')
