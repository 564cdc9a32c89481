from collections import OrderedDict

import pytest
from mmengine.config import Config
from mmengine.registry import Registry

from dsrl_mm.engine.config import builds, evaluate, input_channels, nearest, plain_datasets, read_config, type_name


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


BASE = """
classes = None
sizes = dict(canvas=(512, 1024))
doubled = '${tuple(2 * side for side in sizes.canvas)}'
head = dict(num_classes='${len(classes)}')
heads = [dict(num_classes='${len(classes)}'), 'price: ${5}', ('${classes}',)]
"""


def test_expressions_are_evaluated_after_overrides(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'mine.py').write_text("_base_ = './base.py'\nclasses = ('road', 'car')\n")
    cfg = read_config(tmp_path / 'mine.py', {'sizes.canvas': [32, 64]})
    assert cfg.head == dict(num_classes=2)
    assert cfg.doubled == (64, 128)
    # Only whole strings, in dicts and lists.
    assert cfg.heads == [dict(num_classes=2), 'price: ${5}', ('${classes}',)]
    assert read_config(tmp_path / 'mine.py', {'classes': ['a', 'b', 'c']}).head == dict(num_classes=3)


def test_a_config_without_expressions_stays_as_it_is():
    content = dict(model=dict(type=OrderedDict), pipeline=[dict(type='$'), ('a', '{}')])
    assert evaluate(Config(content)).to_dict() == content


def test_a_failing_expression_is_named_with_its_variables(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    with pytest.raises(ValueError, match=r"head\.num_classes='\$\{len\(classes\)\}'.*Set .*classes=None"):
        read_config(tmp_path / 'base.py')


def test_nearest_names():
    names = ['optim_wrapper.optimizer.lr', 'train_cfg.max_iters', 'default_hooks.logger.interval']
    assert nearest('optim_wrapper.optimizer.lrr', names) == names[0]
    assert nearest('max_iter', names) == names[1]
