"""A wheel as users get it: built from the source distribution and installed where no repository is."""

import ast
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dsrl_mm

ROOT = Path(__file__).parents[1]
FILES = (
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'CITATION.cff',
    'model-index.yml',
)
EXTRAS = ('docs', 'experiments', 'export', 'hub', 'nncf', 'onedl', 'openmmlab', 'pose', 'test', 'timm', 'video')
# OpenCV comes with mmcv, in the build the user chose (opencv-python or -headless: they share a folder as well).
OPENMMLAB_MODULES = {'mmengine', 'mmcv', 'mmseg', 'mmpose', 'cv2'}
OPTIONAL_MODULES = {'onnxruntime'}
# The user installs it when a message asks for it.
ON_DEMAND = {'segmentation_refinement'}
DISTRIBUTIONS = {'PIL': 'pillow'}
#: Run with the installed package: import every module, load every config, start every tool.
USE_EVERYTHING = """
import importlib, importlib.util, pkgutil, runpy, sys
from pathlib import Path

import dsrl_mm.pose, dsrl_mm.seg
from mmengine.config import Config

assert importlib.util.find_spec('projects') is None
modules = [module.name for module in pkgutil.walk_packages(dsrl_mm.__path__, 'dsrl_mm.')]
for name in modules:
    importlib.import_module(name)
mim = Path(dsrl_mm.__file__).parent / '.mim'
configs = sorted((mim / 'configs').glob('[!_]*/*.py'))
for config in configs:
    Config.fromfile(config)
for tool in sorted((mim / 'tools').rglob('*.py')):
    sys.argv = [str(tool), '--help']
    sys.path[0] = str(tool.parent)
    try:
        runpy.run_path(str(tool), run_name='__main__')
    except SystemExit as done:
        assert done.code == 0, tool
print(dsrl_mm.__file__, len(modules), len(configs), sep='\\n')
"""


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess:
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
    """The folder into which pip has installed the wheel of the source distribution, and nothing else."""
    folder = tmp_path_factory.mktemp('packaging')
    checkout = folder / 'checkout'
    checkout.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, checkout)
    for name in ('dsrl_mm', 'requirements', 'configs', 'tools'):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns('__pycache__'))
    run('-c', 'from setuptools import build_meta; build_meta.build_sdist("..")', cwd=checkout)
    (sdist,) = folder.glob('*.tar.gz')
    pip = ('-m', 'pip', 'install', '--no-deps', '--no-index', '--no-build-isolation', '--no-compile')
    run(*pip, '--target', folder / 'installed', sdist, cwd=folder)
    return folder / 'installed'


@pytest.fixture(scope='module')
def dist(installed) -> metadata.Distribution:
    (folder,) = installed.glob('*.dist-info')
    return metadata.Distribution.at(folder)


def required(dist: metadata.Distribution, extra: str = '') -> set[str]:
    requirements = [Requirement(text) for text in dist.requires]
    if not extra:
        return {str(requirement) for requirement in requirements if requirement.marker is None}
    return {
        str(requirement).split(';')[0]
        for requirement in requirements
        if requirement.marker is not None and f'extra == "{extra}"' in str(requirement.marker)
    }


def in_file(name: str) -> set[str]:
    lines = (line.split('#')[0].strip() for line in (ROOT / f'requirements/{name}.txt').read_text().splitlines())
    return {str(Requirement(line)) for line in lines if line}


def test_version_is_the_packages(dist):
    assert dist.version == dsrl_mm.__version__


def test_citation_names_the_version():
    assert yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version'] == dsrl_mm.__version__


def test_python_versions(dist):
    assert dist.metadata['Requires-Python'] == '>=3.10'


def test_no_openmmlab_distribution_is_forced_on_anyone(dist):
    names = {canonicalize_name(Requirement(text).name) for text in required(dist)}
    assert 'torch' in names
    assert not [name for name in names if name.startswith(('mm', 'onedl'))]


def test_torch_is_not_pinned(dist):
    (torch,) = (requirement for requirement in map(Requirement, required(dist)) if requirement.name == 'torch')
    assert {specifier.operator for specifier in torch.specifier} == {'>='}


def test_requirements_are_those_of_the_files(dist):
    assert required(dist) == in_file('runtime')
    assert {extra: required(dist, extra) for extra in EXTRAS} == {extra: in_file(extra) for extra in EXTRAS}
    assert set(dist.metadata.get_all('Provides-Extra')) == set(EXTRAS)


def test_stacks_are_either_or():
    names = {stack: {Requirement(text).name for text in in_file(stack)} for stack in ('onedl', 'openmmlab')}
    assert names['onedl'] == {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'}
    assert {'mmengine', 'mmcv-lite', 'mmsegmentation'} <= names['openmmlab']
    assert not [name for name in names['openmmlab'] if name.startswith('onedl')]


def test_mmpose_is_compiled_for_the_numpy_that_is_there():
    """And has no extra: pip would build chumpy for it, and take an xtcocotools for NumPy 1."""
    lines = (ROOT / 'requirements/mmpose.txt').read_text().splitlines()
    options = {line for line in lines if line.startswith('-')}
    packages = {Requirement(line).name for line in lines if line and not line.startswith(('#', '-'))}
    assert options == {'--no-binary xtcocotools'}
    assert packages == {'mmpose', 'xtcocotools'}
    assert not packages & {Requirement(r).name for extra in EXTRAS for r in in_file(extra)}
    assert {Requirement(r).name for r in in_file('pose')} >= {'cython', 'setuptools'}  # there is no build isolation


def test_documents_and_makefile_install_mmpose_alike():
    line = 'pip install --no-deps --no-build-isolation -r requirements/mmpose.txt'
    for name in ('docs/get_started.md', 'Makefile', 'requirements/mmpose.txt'):
        assert line in (ROOT / name).read_text(), name


def imports(folder: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """The top-level modules that a folder's Python files import, and those they import by ``optional``, with extras."""
    imported, optional, files = set(), set(), sorted(folder.rglob('*.py'))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split('.')[0])
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'optional':
                package, extra = (argument.value for argument in node.args)
                optional.add((package.split('.')[0], extra))
    return imported, optional


def test_everything_imported_is_required(installed):
    """By the package and by its tools and configs, which lie in it."""
    assert (installed / 'dsrl_mm/.mim/tools/train.py').is_file()
    imported, optional = imports(installed)
    elsewhere = OPENMMLAB_MODULES | OPTIONAL_MODULES | ON_DEMAND | {'dsrl_mm'}
    third_party = imported - set(sys.stdlib_module_names) - elsewhere
    assert {DISTRIBUTIONS.get(name, name) for name in third_party} == {Requirement(r).name for r in in_file('runtime')}
    assert imported >= OPTIONAL_MODULES | ON_DEMAND
    assert len(optional) >= 8
    for package, extra in optional | {(package, 'export') for package in OPTIONAL_MODULES}:
        assert package in {Requirement(r).name for r in in_file(extra)}, f'{package} is not in the extra {extra}'


def files(folder: Path) -> set[str]:
    """Paths of a folder's files, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_wheel_holds_the_package_and_what_mim_looks_for(installed):
    """A folder without ``__init__.py`` would be left out, and missed only by who installs the package."""
    mim = {f'.mim/{folder}/{path}' for folder in ('configs', 'tools') for path in files(ROOT / folder)}
    assert files(installed / 'dsrl_mm') == files(ROOT / 'dsrl_mm') | mim | {'.mim/model-index.yml'}
    assert {path.name for path in installed.iterdir()} == {'dsrl_mm', f'dsrl_mm-{dsrl_mm.__version__}.dist-info'}


def test_installed_package_works_without_the_repository(installed, tmp_path):
    pytest.importorskip('mmpose')
    environment = dict(os.environ, PYTHONPATH=str(installed), PYTHONDONTWRITEBYTECODE='1')
    output = run('-c', USE_EVERYTHING, cwd=tmp_path, env=environment).stdout
    *_, file, modules, configs = output.splitlines()
    assert file == str(installed / 'dsrl_mm/__init__.py')
    assert int(modules) == len(list((ROOT / 'dsrl_mm').rglob('*.py'))) - 1  # dsrl_mm itself
    assert int(configs) == len(list((ROOT / 'configs').glob('[!_]*/*.py'))) > 10
    assert output.count('usage: ') == len(list((ROOT / 'tools').rglob('*.py'))) > 5


def metafiles() -> list[dict]:
    return [
        yaml.safe_load((ROOT / path).read_text())
        for path in yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    ]


def test_model_index_names_every_config():
    models = [model for index in metafiles() for model in index['Models']]
    assert {model['Config'] for model in models} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').glob('[!_]*/*.py')
    }
    assert len({model['Name'] for model in models}) == len(models)


def test_model_index_is_consistent():
    measured = ''.join((ROOT / 'docs' / name).read_text() for name in ('results.md', 'model_zoo.md'))
    for index in metafiles():
        (collection,) = index['Collections']
        assert (ROOT / collection['README']).is_file() and (ROOT / collection['Code']['URL']).is_file()
        for model in index['Models']:
            name, stem = model['Name'], Path(model['Config']).stem
            assert name.startswith(f'{stem}_') if 'Options' in model['Metadata'] else name == stem
            assert model['In Collection'] == collection['Name']
            for result in model.get('Results', []):
                assert str(result['Metrics']['mIoU']) in measured, f'{name}: a figure of no document'
