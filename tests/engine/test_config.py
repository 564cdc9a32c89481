from collections import OrderedDict

import pytest
from mmengine.registry import Registry

from dsrl_mm.engine.config import builds, input_channels, plain_datasets, type_name


@pytest.mark.parametrize('type_', ['OrderedDict', 'mmseg.OrderedDict', 'collections.OrderedDict', OrderedDict])
def test_type_name_however_it_is_written(type_):
    assert type_name(dict(type=type_)) == 'OrderedDict'


def test_no_type():
    assert type_name(dict(depth=18)) == type_name(dict(type=None)) == ''


def test_input_channels():
    assert input_channels(dict(type='ResNet')) == 3
    assert input_channels(dict(type='ResNet', in_channels=1)) == 1


def test_builds_a_class_or_a_subclass():
    registry = Registry('test')
    registry.register_module(module=OrderedDict)
    for type_ in ('OrderedDict', OrderedDict):
        assert builds(dict(type=type_), registry, dict) and not builds(dict(type=type_), registry, list)
    assert not builds(dict(type='Unknown'), registry, dict) and not builds({}, registry, dict)


def test_data_sets_inside_wrappers():
    plain = dict(data_prefix=dict(img='images'))
    loader = dict(dataset=dict(type='ConcatDataset', datasets=[plain, dict(type='RepeatDataset', dataset=plain)]))
    assert list(plain_datasets(loader, 'loader', 'data_prefix')) == [
        ('loader.dataset.datasets.0', plain),
        ('loader.dataset.datasets.1.dataset', plain),
    ]
    assert list(plain_datasets(loader, 'loader', 'ann_file')) == []
