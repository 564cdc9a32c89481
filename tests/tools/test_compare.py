"""The command that compares models: what it hands to :func:`dsrl_mm.apis.compare_models`."""

import pytest
import toy_data

from tools import benchmark
from tools.analysis_tools import compare as tool


def test_options_are_for_every_config(tmp_path, monkeypatch, capsys):
    files = {name: toy_data.write_config(tmp_path / name, tmp_path) for name in 'ab'}
    monkeypatch.chdir(tmp_path)
    for name in files:
        (tmp_path / f'{name}.pth').touch()
    found = {}

    def compare_models(entries, out, pictures):
        found.update(entries, out=out, pictures=pictures)
        return {name: {'mIoU': 50.0} for name in entries}

    monkeypatch.setattr(tool, 'compare_models', compare_models)
    models = [arg for name, config in files.items() for arg in ('--model', name, str(config), f'{name}.pth')]
    options = ['--pictures', '2', '--cfg-options', 'test_dataloader.dataset.data_root=elsewhere']
    tool.main([*models, '--out', str(tmp_path), *options])
    assert [found[name].checkpoint for name in 'ab'] == ['a.pth', 'b.pth']
    assert [found[name].cfg.test_dataloader.dataset.data_root for name in 'ab'] == ['elsewhere'] * 2
    assert (found['out'], found['pictures']) == (str(tmp_path), 2)
    assert '| mIoU |' in capsys.readouterr().out


def test_models_of_the_zoo_keep_their_options(monkeypatch):
    found = {}
    monkeypatch.setattr(tool, 'compare_models', lambda entries, *_: found.update(entries) or {'a': {'mIoU': 50.0}})
    names = {'small': 'dabnet_camvid_baseline_90x120', 'DSRL': 'dabnet_camvid_early_sssr'}
    tool.main([arg for name, model in names.items() for arg in ('--model', name, model)])
    assert [found[name].cfg.model.scale_factor for name in names] == [4, 2]
    assert found['DSRL'].cfg.model.sr_aux is None
    assert all(found[name].checkpoint.endswith(f'weights/{model}.pth') for name, model in names.items())


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (['a'], 'takes a name, a model and'),
        (['a', 'b', 'c', 'd'], 'takes a name, a model and'),
        (['a', 'dabnet'], 'dabnet_camvid_baseline'),
        (['a', __file__], 'name its checkpoint'),
        (['a', __file__, 'none.pth'], 'there is no none.pth'),
    ],
)
def test_models_that_are_not_there(values, message, capsys):
    with pytest.raises(SystemExit):
        tool.main(['--model', *values])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('main', [tool.main, benchmark.main])
def test_models_need_names_of_their_own(main, capsys):
    with pytest.raises(SystemExit):
        main(2 * ['--model', 'a', __file__, __file__])
    assert "two models have the name 'a'" in capsys.readouterr().err
