import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from toy import NUM_CLASSES, build, head_cfg

WEIGHTS = [0.5, 1.0, 1.5, 2.0, 4.0]
SAMPLER = dict(type='ClassWeightSampler', weights=WEIGHTS)


@pytest.mark.parametrize('ignore_index', [255, 2])
def test_loss_is_the_weighted_cross_entropy(ignore_index):
    head = build(head_cfg('FCNHead', sampler=SAMPLER, ignore_index=ignore_index))
    torch.manual_seed(0)
    logits, label = torch.randn(2, NUM_CLASSES, 6, 8), torch.randint(NUM_CLASSES, (2, 6, 8))
    label[:, :2] = ignore_index
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label]
    expected = F.cross_entropy(logits, label, weight=torch.tensor(WEIGHTS), ignore_index=ignore_index, reduction='sum')
    torch.testing.assert_close(head.loss_by_feat(logits, samples)['loss_ce'], expected / label.numel())


def test_one_weight_per_class():
    with pytest.raises(ValueError, match='4 weights for 5 classes'):
        build(head_cfg('FCNHead', sampler=dict(SAMPLER, weights=WEIGHTS[1:])))


@pytest.mark.parametrize('ignore_index', [255, 1])
def test_weights_by_the_name_of_a_data_set(ignore_index):
    sampler = dict(SAMPLER, weights='CamVidDataset')
    head = build(head_cfg('FCNHead', num_classes=11, sampler=sampler, ignore_index=ignore_index))
    label = torch.tensor([[[[2, 0, ignore_index]]]])  # pole, sky
    torch.testing.assert_close(head.sampler.sample(None, label), torch.tensor([[[2.28, 0.98, 0]]]))


@pytest.mark.parametrize(
    ('name', 'message'), [('CityscapesDataset', 'has no METAINFO'), ('NoSuchDataset', 'is no registered data set')]
)
def test_data_sets_without_weights_are_refused(name, message):
    with pytest.raises(ValueError, match=f'{name} {message}.*sampler.weights'):
        build(head_cfg('FCNHead', sampler=dict(SAMPLER, weights=name)))
