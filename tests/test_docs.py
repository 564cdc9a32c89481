"""Documents point at files that exist, and have no gaps left to fill."""

import re
from pathlib import Path

import mmseg
import pytest
import toy
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS

REPO = Path(__file__).parents[1]
DOCUMENTS = sorted([*REPO.glob('*.md'), *REPO.glob('docs/*.md')])


def test_documents_are_found():
    assert {'README.md', 'CHANGELOG.md', 'design.md', 'results.md'} <= {path.name for path in DOCUMENTS}


def headings(document: Path) -> list[str]:
    """As GitHub names them in links."""
    titles = re.findall(r'^#+ (.*)$', document.read_text(), re.MULTILINE)
    return [re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles]


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_links_and_gaps(path):
    text = path.read_text()
    targets = [target.partition('#') for target in re.findall(r'\]\(([^)\s]+)\)', text) if '://' not in target]
    assert [target for target, _, _ in targets if not (path.parent / target).exists()] == []
    anchors = [(path.parent / target if target else path, anchor) for target, _, anchor in targets if anchor]
    assert [anchor for document, anchor in anchors if anchor not in headings(document)] == []
    assert re.findall(r'@[A-Z_]{2,}@', text) == []


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_commands_name_files_that_exist(path):
    named = re.findall(r'\b((?:tools|configs|dsrl_mm)/[\w./-]+\.(?:py|sh|yml))\b', path.read_text())
    assert [name for name in named if not (REPO / name).exists()] == []


def test_the_readmes_config_works_on_a_stock_one(tmp_path):
    stock = Path(mmseg.__path__[0], '.mim/configs/pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    (tmp_path / 'my_config.py').write_text(f'_base_ = {str(stock)!r}\n')
    (example,) = re.findall(
        r"```python\n(_base_ = './my_config.py'.*?)```", (REPO / 'README.md').read_text(), re.DOTALL
    )
    (tmp_path / 'dsrl.py').write_text(example)
    cfg = Config.fromfile(tmp_path / 'dsrl.py')
    cfg.model.pretrained = None  # nothing is downloaded in tests
    cfg.model.data_preprocessor.size = toy.SIZE
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    losses = model(**model.data_preprocessor(toy.batch(), training=True), mode='loss')
    assert {'decode.loss_ce', 'aux.loss_ce', 'sr.loss_sisr', 'sr.loss_fa'} <= losses.keys()
    assert [hook.type for hook in cfg.custom_hooks] == ['LabelCheckHook', 'NonFiniteLossHook']
    assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook'
