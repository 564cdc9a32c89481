"""Every tool runs as a script, from any folder: it imports nothing of the repository but the package."""

import ast
import runpy
import sys
from contextlib import suppress
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
SCRIPTS = sorted(TOOLS.rglob('*.py'))


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_says_how_it_is_used(script, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [str(script), '--help'])
    with suppress(SystemExit):
        runpy.run_path(str(script), run_name='__main__')
    assert f'usage: {script.name}' in capsys.readouterr().out


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_needs_only_the_installed_package(script):
    imports = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)]
    assert imports
    assert not [node.module for node in imports if node.level or node.module.split('.')[0] in ('tools', 'projects')]
