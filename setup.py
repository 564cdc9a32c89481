import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding='utf-8')


def requirements(name: str) -> list[str]:
    lines = (line.split('#')[0].strip() for line in read(f'requirements/{name}.txt').splitlines())
    return [line for line in lines if line]


class BuildWithConfigs(build_py):
    """Puts the configs and tools where mim looks for those of an installed package."""

    def run(self):
        super().run()
        if not self.editable_mode:
            mim = Path(self.build_lib) / 'dsrl_mm' / '.mim'
            shutil.rmtree(mim, ignore_errors=True)  # an earlier build's, with configs that are gone
            for folder in ('configs', 'tools'):
                shutil.copytree(ROOT / folder, mim / folder, ignore=shutil.ignore_patterns('__pycache__'))
            shutil.copy(ROOT / 'model-index.yml', mim)


setup(
    name='dsrl_mm',
    # Read, not imported: installing must not need torch.
    version=re.search(r"^__version__ = '(.+)'$", read('dsrl_mm/__init__.py'), re.MULTILINE)[1],
    description='Dual Super-Resolution Learning (CVPR 2020) as a plugin for MMSegmentation and MMPose',
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    author='The dsrl_mm developers',
    license='Apache-2.0',
    keywords='semantic segmentation, human pose estimation, super-resolution, OpenMMLab, PyTorch',
    classifiers=[
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    cmdclass=dict(build_py=BuildWithConfigs),
    python_requires='>=3.10',
    packages=find_packages(include=['dsrl_mm', 'dsrl_mm.*']),
    # No OpenMMLab package: the originals and their continuation overwrite each other, and the user may have either.
    install_requires=requirements('runtime'),
    # mmpose.txt is not among them: what it lists cannot be resolved by pip, see there.
    extras_require={name: requirements(name) for name in ('onedl', 'openmmlab', 'pose', 'test', 'timm')},
)
