import pytest

from dsrl_mm.engine.optional import optional


def test_a_package_that_is_there():
    assert optional('json', 'export').dumps([]) == '[]'


def test_a_package_that_is_missing():
    with pytest.raises(ImportError, match=r'no_such_package is not installed. Type: pip install "dsrl_mm\[export\]"'):
        optional('no_such_package', 'export')
