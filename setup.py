"""A build step that pyproject.toml cannot express: copy configs and tools to where mim looks for them in a wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Copies configs, tools and the model index into the package's folder ``.mim``."""

    def run(self):
        super().run()
        if not self.editable_mode:
            mim = Path(self.build_lib) / 'dsrl_mm' / '.mim'
            shutil.rmtree(mim, ignore_errors=True)  # an earlier build's, with configs that are gone
            for folder in ('configs', 'tools'):
                shutil.copytree(ROOT / folder, mim / folder, ignore=shutil.ignore_patterns('__pycache__'))
            shutil.copy(ROOT / 'model-index.yml', mim)


setup(cmdclass=dict(build_py=BuildWithConfigs))
