"""ISDSegmentor in what MMEngine and MMSegmentation do around a model: nothing of it needs a change."""

import shutil

import pytest
import torch
from mmseg.registry import MODELS
from toy import batch, build, head_cfg, spread_weights
from toy_data import NUM_CLASSES, call, logged, write_camvid, write_config
from toy_processes import assert_trained_alike, run_two

from dsrl_mm import cli

from .toy_isd import GN, isd_cfg


def checkpoint(work_dir, iteration: int) -> dict:
    return torch.load(work_dir / f'iter_{iteration}.pth', weights_only=False)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config with EMA, and a folder with four of its iterations in bfloat16, dropout included."""
    folder = tmp_path_factory.mktemp('host')
    model = isd_cfg(head_cfg('FCNHead', GN, num_classes=NUM_CLASSES), norm_cfg=GN)  # without buffers
    model['decode_head']['dropout_ratio'] = 0.5
    config = write_config(
        folder,
        write_camvid(folder / 'camvid', val=1),
        model=model,
        custom_imports=dict(imports=['dsrl_mm.uhr']),
        default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=-1)),
        custom_hooks=[dict(type='EMAHook', momentum=0.5)],
    )
    call(cli.train, config, '--work-dir', folder / 'whole', '--amp')
    return config, folder / 'whole'


def test_two_processes_train_like_one_with_the_batch_of_both(tmp_path):
    model = isd_cfg(head_cfg('FCNHead', GN, num_classes=NUM_CLASSES), norm_cfg=GN)
    config = write_config(
        tmp_path, write_camvid(tmp_path / 'camvid', val=1), model=model, custom_imports=dict(imports=['dsrl_mm.uhr'])
    )
    one, two = tmp_path / 'one', tmp_path / 'two'
    call(cli.train, config, '--work-dir', one, '--cfg-options', 'train_dataloader.batch_size=4')
    assert run_two(call, cli.train, config, '--work-dir', two, '--launcher', 'pytorch') == [0, 0]
    assert_trained_alike(one, two)


def test_averaged_weights(trained):
    """The first average is the first iteration's weights; each later one goes half of the way to the new weights."""
    for iteration in (1, 2, 3, 4):
        # What is saved as the model are the averages, and as the average the weights that are trained.
        saved = checkpoint(trained[1], iteration)
        weights = {name.removeprefix('module.'): x for name, x in saved['ema_state_dict'].items() if name != 'steps'}
        if iteration == 1:
            average = weights
        average = {name: (x + weights[name]) / 2 for name, x in average.items()}
        assert saved['state_dict'].keys() == weights.keys()
        torch.testing.assert_close(saved['state_dict'], average)
    assert not torch.equal(average['sr_aux.deep.1.weight'], weights['sr_aux.deep.1.weight'])


def test_resumed_equals_uninterrupted_bit_for_bit(trained, tmp_path):
    config, whole = trained
    shutil.copy(whole / 'iter_2.pth', tmp_path)
    call(cli.train, config, '--work-dir', tmp_path, '--amp', '--resume')
    assert [entry['iter'] for entry in logged(tmp_path) if 'loss' in entry] == [3, 4]
    resumed, expected = checkpoint(tmp_path, 4), checkpoint(whole, 4)
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(resumed[part], expected[part], rtol=0, atol=0)


class TestPrediction:
    SIZE = (64, 96)

    @staticmethod
    def predict(image, model):
        samples = batch(image.shape[1:], n=1)['data_samples']
        return model.test_step(dict(inputs=[image], data_samples=samples))[0].seg_logits.data

    def test_overlapping_windows_are_averaged(self):
        image = batch(self.SIZE, n=1)['inputs'][0]
        whole = spread_weights(build(isd_cfg())).eval()
        left, right = (self.predict(image[..., x : x + 64], whole) for x in (0, 32))
        expected = torch.cat([left[..., :32], (left[..., 32:] + right[..., :32]) / 2, right[..., 32:]], -1)
        windows = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
        slide = spread_weights(build(isd_cfg(test_cfg=windows))).eval()
        torch.testing.assert_close(self.predict(image, slide), expected)

    def test_test_time_augmentation(self):
        """The mean of an image's probabilities and its mirror image's."""
        model = spread_weights(build(isd_cfg())).eval()
        image = batch(self.SIZE, n=1)['inputs'][0]
        images = [image, image.flip(-1)]
        samples = [batch(self.SIZE, n=1)['data_samples'] for _ in images]
        samples[1][0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
        tta = MODELS.build(dict(type='SegTTAModel', module=model))
        (result,) = tta.test_step(dict(inputs=[[image] for image in images], data_samples=samples))
        logits = [self.predict(image, model) for image in images]
        expected = logits[0].softmax(0) + logits[1].flip(-1).softmax(0)
        assert torch.equal(result.pred_sem_seg.data[0], expected.argmax(0))
        assert not torch.equal(result.pred_sem_seg.data[0], logits[0].argmax(0))
