"""Folders for a model hub: the model comes back bit for bit, and every entrance takes them."""

import json
import re
import sys

import cv2
import numpy as np
import pytest
import torch
import toy_data
from mmengine.config import Config
from toy import batch
from toy_models import CLASSES, PALETTE, write_model, write_pose_model

from dsrl_mm import cli
from dsrl_mm.apis import Inferencer, build_deploy_model, save_deploy
from dsrl_mm.apis.hub import main, save_hub
from dsrl_mm.engine.loading import read_state_dict
from dsrl_mm.seg import CamVidDataset

pytest.importorskip('safetensors')
FREE = dict(license='apache-2.0')


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*_):
        raise AssertionError('a connection')

    monkeypatch.setattr('socket.socket.connect', refuse)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config and a checkpoint of a training, two of whose tensors share memory, and one is channels-last."""
    config, checkpoint = write_model(tmp_path_factory.mktemp('trained'))
    saved = torch.load(checkpoint, weights_only=True)
    weights = saved['state_dict']
    weights['backbone.layer1.0.bn1.bias'] = weights['backbone.layer1.0.bn1.weight']
    weights['backbone.stem.0.weight'] = weights['backbone.stem.0.weight'].to(memory_format=torch.channels_last)
    torch.save(saved, checkpoint)
    return config, checkpoint


def picture(seed=0):
    return np.random.default_rng(seed).integers(256, size=(48, 64, 3), dtype=np.uint8)


def assert_same_tensors(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


class TestBitForBit:
    @pytest.mark.parametrize('low_res_input', [False, True])
    def test_of_a_training(self, trained, tmp_path, low_res_input):
        files = save_hub(trained[0], tmp_path, trained[1], license=FREE, low_res_input=low_res_input)
        assert [file.name for file in files] == ['config.py', 'model.safetensors', 'README.md']
        assert sorted(tmp_path.iterdir()) == sorted(files)
        expected = build_deploy_model(Config.fromfile(trained[0]), trained[1], low_res_input)
        assert_same_tensors(read_state_dict(files[1]), expected.state_dict())
        found = build_deploy_model(Config.fromfile(files[0]), files[1], low_res_input)
        logits = ([sample.seg_logits.data for sample in model.test_step(batch())] for model in (found, expected))
        assert all(map(torch.equal, *logits))

    def test_of_a_deployed_model_in_half_precision(self, trained, tmp_path):
        save_deploy(Config.fromfile(trained[0]), trained[1], tmp_path / 'deployed', low_res_input=True, half=True)
        save_hub(tmp_path / 'deployed', tmp_path / 'hub', license=FREE)
        expected = read_state_dict(tmp_path / 'deployed/deploy.pth')
        assert {value.dtype for value in expected.values()} == {torch.float16, torch.float32, torch.int64}
        assert_same_tensors(read_state_dict(tmp_path / 'hub/model.safetensors'), expected)
        masks = [Inferencer(tmp_path / name, device='cpu')(picture()).mask for name in ('deployed', 'hub')]
        assert masks[0].shape == (96, 128) and (masks[0] == masks[1]).all()

    def test_of_poses(self, tmp_path):
        files = write_pose_model(tmp_path)
        save_hub(files[0], tmp_path / 'hub', files[1], license=FREE)
        found, expected = Inferencer(tmp_path / 'hub', device='cpu'), Inferencer(*files, device='cpu')
        assert found.meta == json.loads(json.dumps(expected.meta))  # without tuples
        assert (found(picture()).keypoints == expected(picture()).keypoints).all()
        card = (tmp_path / 'hub/README.md').read_text()
        assert 'pipeline_tag: keypoint-detection' in card and '| Keypoints | nose, left_eye, ' in card


def test_every_tool_takes_the_folder(tmp_path, monkeypatch):
    data = toy_data.write_camvid(tmp_path / 'data', train=1, val=2)
    config, checkpoint = toy_data.write_trained(tmp_path, data, work_dir='/home/me', load_from='/home/me/a.pth')
    files = save_hub(config, tmp_path / 'hub', checkpoint, license=FREE)
    assert '/home/me' not in files[0].read_text()
    expected = toy_data.call(cli.test, config, '--work-dir', tmp_path / 'work', checkpoint)  # an option between them
    assert toy_data.call(cli.test, tmp_path / 'hub', '--work-dir', tmp_path / 'work') == expected
    assert Inferencer(tmp_path / 'hub', device='cpu').meta['classes'] == list(CamVidDataset.METAINFO['classes'])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder of a model of the zoo."""
    folder = tmp_path_factory.mktemp('hub') / 'dabnet_camvid_early'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CAMVID_ROOT', '/home/me/camvid')
        main(['dabnet_camvid_early', str(folder)])
    return folder


class TestCard:
    def test_says_what_hubs_read(self, folder):
        card = pytest.importorskip('huggingface_hub').ModelCard.load(folder / 'README.md')
        assert card.data.license == 'other' and card.data.license_name == 'research-only'
        assert card.data.license_link.startswith('https://')
        assert card.data.pipeline_tag == 'image-segmentation' and card.data.datasets == ['camvid']
        assert {'dabnet', 'sssr', 'sisr'} <= set(card.data.tags)
        (result,) = card.data.eval_results
        assert (result.metric_type, result.metric_value) == ('mean_iou', 63.74)
        assert (result.dataset_name, result.dataset_split) == ('CamVid', 'val')

    def test_its_example_runs(self, folder, monkeypatch):
        monkeypatch.chdir(folder.parent)
        cv2.imwrite('image.png', cv2.resize(picture(), (480, 360)))
        (code,) = re.findall(r'```python\n(.*?)```', (folder / 'README.md').read_text(), re.DOTALL)
        names = {}
        exec(code, names)
        expected = Inferencer('dabnet_camvid_early', device='cpu')('image.png').mask
        assert expected.shape == (360, 480) and (names['prediction'] == expected).all()

    def test_for_people(self, folder):
        text = (folder / 'README.md').read_text()
        assert (
            '| Image size | 360x480 (height x width) |\n| Network input | 180x240 |\n| mIoU on CamVid, val | 63.74 |'
            in text
        )
        assert '| Classes | Sky, Building, ' in text and 'Dual Super-Resolution Learning' in text

    def test_folders_of_data_stay_variables(self, folder, monkeypatch):
        assert '/home/me' not in (folder / 'config.py').read_text()
        monkeypatch.setenv('CAMVID_ROOT', '/home/you')
        assert Config.fromfile(folder / 'config.py').test_dataloader.dataset.data_root == '/home/you'

    def test_of_ones_own_model(self, trained, tmp_path):
        folder = tmp_path / "Ada's"
        main([str(trained[0]), str(folder), '--checkpoint', str(trained[1]), '--license', 'mit'])
        text = (folder / 'README.md').read_text()
        assert text.startswith('---\nlicense: mit\n') and "# Ada's\n" in text and 'model-index' not in text
        assert f'| Classes | {", ".join(CLASSES)} |' in text and 'The license of the weights is mit.' in text
        assert 'Inferencer("Ada\'s")' in text
        assert Inferencer(folder, device='cpu').meta == dict(classes=list(CLASSES), palette=PALETTE)

    def test_of_ones_own_model_in_a_folder_of_a_zoo_models_name(self, trained, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        save_hub(trained[0], 'dabnet_camvid_early', trained[1], license=FREE)
        with pytest.raises(ValueError, match='name the license of the weights'):
            save_hub('dabnet_camvid_early', 'hub')
        save_hub('dabnet_camvid_early', 'hub', license=FREE)
        assert 'mIoU' not in (tmp_path / 'hub/README.md').read_text()

    def test_of_frames_and_of_options_over_the_zoos(self, tmp_path):
        options = {'model.scale_factor': 4}  # and not 1
        files = save_hub('dabnet_camvid_baseline_full_size', tmp_path, low_res_input=True, cfg_options=options)
        assert '| Image size | 90x120 (height x width) |\n| Network input | 90x120 |' in files[2].read_text()

    def test_that_somebody_edited(self, trained, tmp_path):
        def write(card=None):
            save_hub(trained[0], tmp_path, trained[1], license=FREE, card=card)
            return (tmp_path / 'README.md').read_bytes()

        first = write()
        assert write() == first  # which nobody edited
        mine = 'mine: naïve\r\n'.encode('latin-1')
        (tmp_path / 'README.md').write_bytes(mine)
        (tmp_path / 'model.safetensors').write_text('old')
        with pytest.raises(FileExistsError, match='README.md is not the card .* --card keep or --card replace'):
            write()
        assert [(tmp_path / name).read_bytes() for name in ('README.md', 'model.safetensors')] == [mine, b'old']
        assert write('keep') == mine and read_state_dict(tmp_path / 'model.safetensors')
        assert write('replace') == first


@pytest.mark.parametrize(
    'license', [None, dict(license='other'), dict(license='other', license_name='mine'), dict(license_name='mine')]
)
def test_a_license_is_needed(trained, tmp_path, license):
    with pytest.raises(ValueError, match=r'toy\.pth: name the license of the weights'):
        save_hub(trained[0], tmp_path / 'hub', trained[1], license=license)
    assert not (tmp_path / 'hub').exists()


def test_what_would_be_left_out_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match='name the license'):
        main(['dabnet_camvid_early', str(tmp_path / 'hub'), '--license-name', 'mine'])
    with pytest.raises(ValueError, match='--cfg-options crop_sizes: nothing reads it'):
        save_hub(trained[0], tmp_path / 'hub', trained[1], license=FREE, cfg_options=dict(crop_sizes=9))
    assert not (tmp_path / 'hub').exists()


def test_weights_are_missing(trained, tmp_path):
    config, weights, _ = save_hub(trained[0], tmp_path, trained[1], license=FREE)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r'model\.safetensors is missing'):
        Inferencer(tmp_path)


def test_a_full_disk_leaves_the_old_files(trained, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError('No space left on device')

    for file in save_hub(trained[0], tmp_path, trained[1], license=FREE):
        file.write_text('old')
    monkeypatch.setattr('safetensors.torch.save_file', fail)
    with pytest.raises(OSError, match='No space left'):
        save_hub(trained[0], tmp_path, trained[1], license=FREE, card='replace')
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        'config.py': 'old',
        'model.safetensors': 'old',
        'README.md': 'old',
    }


class TestWeights:
    def test_without_metadata(self, trained, tmp_path):
        import safetensors.torch

        tensors = {name: value.contiguous().clone() for name, value in read_state_dict(trained[1]).items()}
        safetensors.torch.save_file(tensors, tmp_path / 'plain.safetensors')
        found = Inferencer(trained[0], tmp_path / 'plain.safetensors', device='cpu')
        assert (found(picture()).mask == Inferencer(*trained, device='cpu')(picture()).mask).all()

    def test_truncated(self, trained, tmp_path):
        weights = save_hub(trained[0], tmp_path, trained[1], license=FREE)[1]
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(ValueError, match=r'model\.safetensors cannot be read as a checkpoint: it is truncated'):
            Inferencer(tmp_path, device='cpu')

    def test_without_the_package(self, trained, tmp_path, monkeypatch):
        save_hub(trained[0], tmp_path, trained[1], license=FREE)
        monkeypatch.setitem(sys.modules, 'safetensors', None)
        with pytest.raises(ImportError, match=r'pip install "dsrl_mm\[hub\]"'):
            Inferencer(tmp_path, device='cpu')
