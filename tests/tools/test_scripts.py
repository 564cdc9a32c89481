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
    told = capsys.readouterr().out
    assert f'usage: {script.name}' in told
    assert not {'Args:', 'Returns:', 'Raises:'} & {*told.split()}  # which are for those who read the code


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_needs_only_the_installed_package(script):
    imports = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)]
    assert imports
    assert not [node.module for node in imports if node.level or node.module.split('.')[0] in ('tools', 'projects')]


CONFIG = str(TOOLS.parent / 'configs/dsrl/dabnet_camvid_early.py')
#: Arguments that each script refuses, and what it says of them. 'none' does not exist.
REFUSED = {
    'band_statistics': ('none.py', 'none.py'),
    'benchmark': ('--model a none.py none.pth', 'there is no none.py'),
    'benchmark_affinity': ('--positions 4 --channels 2 --repeats 0', '--repeats'),
    'benchmark_inference': ('none.py --shape 8 8', 'none.py'),
    'benchmark_step': ('none.py', 'none.py'),
    'bootstrap': ('none.py out --over out', 'none.py'),
    'camvid': ('none out', 'none'),
    'cityscapes_submission': (f'{CONFIG} none.pth a.zip', 'there is no none.pth'),
    'coco_masks': ('none.json none.json out', 'none.json'),
    'compare': (f'--model a {CONFIG} none.pth', 'there is no none.pth'),
    'compare_affinities': ('none.py none.pth', 'none.py'),
    'deepglobe': ('none out', 'none'),
    'deploy': (f'{CONFIG} none.pth out', 'there is no none.pth'),
    'figures': ('classes a.xyz --scores none.json', 'a.xyz: a picture ends in '),
    'get_flops': ('none.py', 'none.py'),
    'gpu_check': ('none/a.json --seconds 0', 'none/a.json'),
    'gradient_shares': (f'{CONFIG} --cfg-options modle', 'modle is no KEY=VALUE'),
    'grid_ceiling': ('none.py', 'none.py'),
    'inria_aerial': ('none out --tile 0', 'tile is 0'),
    'predict': ('none none.png', 'none.png'),
    'saliency': ('DUTS-TR none none out', 'none'),
    'test': (f'{CONFIG} none.pth', 'there is no none.pth'),
    'to_dsrl': ('none.py -o out.py', 'There is no config none.py'),
    'to_hub': ('none out', 'none is no folder'),
    'to_isd': ('none.py -o out.py', 'There is no config none.py'),
    'train': ('none.py', 'there is no none.py'),
}


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_refuses_with_one_line(script, monkeypatch, tmp_path, capsys):
    arguments, message = REFUSED[script.stem]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [str(script), *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name='__main__')
    last = capsys.readouterr().err.splitlines()[-1] if ended.value.code == 2 else ended.value.code
    assert last.startswith(f'{script.name}: error: ') and message in last and '\n' not in last
    assert list(tmp_path.iterdir()) == []
