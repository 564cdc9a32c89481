from collections import OrderedDict

import pytest

from dsrl_mm.engine.config import input_channels, type_name


@pytest.mark.parametrize('type_', ['OrderedDict', 'mmseg.OrderedDict', 'collections.OrderedDict', OrderedDict])
def test_type_name_however_it_is_written(type_):
    assert type_name(dict(type=type_)) == 'OrderedDict'


def test_no_type():
    assert type_name(dict(depth=18)) == type_name(dict(type=None)) == ''


def test_input_channels():
    assert input_channels(dict(type='ResNet')) == 3
    assert input_channels(dict(type='ResNet', in_channels=1)) == 1
