import pytest
import torch

from dsrl_mm.engine.optional import optional


def test_a_package_that_is_there():
    assert optional('json', 'export').dumps([]) == '[]'


def test_a_package_that_is_missing():
    torch_version = torch.__version__.split('+')[0]
    remedy = rf'no_such_package is not installed. Type: pip install "dsrl_mm\[export\]" torch=={torch_version}'
    with pytest.raises(ImportError, match=remedy):
        optional('no_such_package', 'export')
