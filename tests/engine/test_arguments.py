import argparse
import gc
import re
import sys
from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import MODELS

from dsrl_mm.engine.arguments import OptionsAction, positive, read_json, require_files, run
from dsrl_mm.engine.config import parse_config


def test_files_folders_and_addresses(tmp_path, capsys):
    parser = argparse.ArgumentParser(prog='train.py')
    require_files(parser, __file__, tmp_path, 'https://example.org/model.pth')
    with pytest.raises(SystemExit):
        require_files(parser, tmp_path, tmp_path / 'a.py', 'b.py')
    assert capsys.readouterr().err.endswith(f'train.py: error: there is no {tmp_path}/a.py\n')


def test_positive_integers(capsys):
    parser = argparse.ArgumentParser(prog='get_flops.py')
    parser.add_argument('--shape', nargs=2, type=positive)
    assert parser.parse_args(['--shape', '1', '20']).shape == [1, 20]
    for wrong, why in (('0', '0 is less than 1'), ('a', "invalid positive value: 'a'")):
        with pytest.raises(SystemExit):
            parser.parse_args(['--shape', '3', wrong])
        assert capsys.readouterr().err.endswith(f'get_flops.py: error: argument --shape: {why}\n')


def test_json(tmp_path):
    (tmp_path / 'a.json').write_text('{"a": [1, "\u00e9"]}', encoding='utf-8')
    assert read_json(tmp_path / 'a.json') == dict(a=[1, '\u00e9'])
    (tmp_path / 'a.json').write_text('{')
    with pytest.raises(ValueError, match='a.json is no JSON: Expecting property name'):
        read_json(tmp_path / 'a.json')


def test_options(capsys):
    parser = argparse.ArgumentParser(prog='train.py')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    options = parser.parse_args(['--cfg-options', 'a.b=1', 'c=[1,2]', '--cfg-options', 'd=x']).cfg_options
    assert options == {'a.b': 1, 'c': [1, 2], 'd': 'x'}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'a.b=1', 'model'])
    assert capsys.readouterr().err.endswith('train.py: error: --cfg-options: model is no KEY=VALUE\n')


def _set(cfg: dict, options: dict):
    Config(cfg).merge_from_dict(options)


@pytest.fixture
def syntax(tmp_path):
    (tmp_path / 'a.py').write_text('model = dict(')
    return tmp_path / 'a.py'


@pytest.fixture
def variable(tmp_path):
    (tmp_path / 'a.py').write_text("root = '{{$NO_SUCH_ROOT:}}'")
    return tmp_path / 'a.py'


class TestRun:
    """A command's end, by the kind of its error."""

    def refused(self, monkeypatch, command) -> str:
        monkeypatch.setattr(sys, 'argv', ['tools/train.py'])
        with pytest.raises(SystemExit) as ended:
            run(command)
        assert ended.value.code.startswith('train.py: error: ') and '\n' not in ended.value.code
        return ended.value.code.removeprefix('train.py: error: ')

    def test_what_it_returns(self):
        assert run(lambda: 3) == 3

    def test_what_is_there_already_is_no_garbage(self):
        before, there = gc.get_freeze_count(), [[] for _ in range(100)]
        assert run(gc.get_freeze_count) >= before + len(there)

    def test_this_project_refuses(self, monkeypatch, syntax):
        assert self.refused(monkeypatch, partial(parse_config, syntax)).startswith(f'{syntax} is no Python: ')

    def test_files_that_cannot_be_opened(self, monkeypatch, tmp_path):
        missing, folder = tmp_path / 'none' / 'a.json', tmp_path
        assert self.refused(monkeypatch, missing.read_text) == f"[Errno 2] No such file or directory: '{missing}'"
        assert str(folder) in self.refused(monkeypatch, partial(folder.write_text, ''))
        assert self.refused(monkeypatch, partial(parse_config, missing)).startswith(f'file "{missing}"')

    def test_data_that_are_not_there(self, monkeypatch):
        message = self.refused(monkeypatch, partial(BaseDataset, 'none.json'))
        assert message.startswith("[Errno 2] No such file or directory: 'none.json'. Set data_root in the config")

    def test_what_a_config_holds(self, monkeypatch, variable, tmp_path):
        code = tmp_path / 'code.py'
        unknown = partial(MODELS.build, dict(type='NoHead'))
        assert self.refused(monkeypatch, unknown).startswith('NoHead is not in the mm')
        expected = r".*__init__\(\) got an unexpected .* 'chanels'. Check the keys of its dict in the config."
        misspelled = partial(MODELS.build, dict(type='BaseDataPreprocessor', chanels=3))
        assert re.fullmatch(expected, self.refused(monkeypatch, misspelled))
        expected = r".*__init__\(\) missing 1 required .* 'model'. Check the keys of its dict in the config."
        lacking = partial(MODELS.build, dict(type='StochasticWeightAverage'))
        assert re.fullmatch(expected, self.refused(monkeypatch, lacking))
        code.write_text('a = 1\nb = len(aa)\n')
        assert self.refused(monkeypatch, partial(parse_config, code)) == f"{code}, line 2: name 'aa' is not defined"
        assert 'NO_SUCH_ROOT' in self.refused(monkeypatch, partial(parse_config, variable))
        assert 'Index 3' in self.refused(monkeypatch, partial(_set, dict(a=[dict()]), {'a.3.b': 1}))

    @pytest.mark.parametrize(
        'fault',
        [
            lambda: int('a'),
            lambda: torch.zeros(2) + torch.zeros(3),
            lambda: torch.nn.Linear(2, 2)(torch.zeros(3)),
            lambda: parse_config(),
            lambda: {}['key'],
            lambda: torch.load(b''),
        ],
    )
    def test_faults_keep_their_traceback(self, fault):
        with pytest.raises(Exception) as kept:  # noqa: B017, PT011  (not SystemExit, which is none)
            run(fault)
        assert len(kept.traceback) > 2
