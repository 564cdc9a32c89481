import pytest
import torch
from mmseg.models.backbones import STDCNet
from toy import spread_weights

from dsrl_mm.uhr import STDCShallow

BN, RELU = dict(type='BN'), dict(type='ReLU')


def whole_stdc(in_channels=3):
    """MMSegmentation's STDC1, an eighth of its width."""
    return spread_weights(STDCNet('STDCNet1', in_channels, (4, 8, 32, 64, 128), 'cat', BN, RELU)).eval()


def test_parameters_are_those_of_the_authors_code():
    with torch.device('meta'):
        assert sum(p.numel() for p in STDCShallow().parameters()) == 1_278_976


@pytest.mark.parametrize('size', [(32, 48), (47, 33)])
def test_outputs(size):
    net = STDCShallow(base_channels=8).eval()
    got = net(torch.randn(1, 6, *size))
    grids = [tuple(-(-side // stride) for side in size) for stride in (8, 16)]
    assert [tuple(out.shape) for out in got] == [(1, 32, *grids[0]), (1, 64, *grids[1])]
    assert net.out_channels == (32, 64)


class TestWeights:
    def test_of_a_whole_stdc_give_its_first_outputs(self, tmp_path, log):
        whole = whole_stdc()
        torch.save(dict(state_dict=whole.state_dict()), tmp_path / 'stdc.pth')
        net = STDCShallow(3, 8, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'stdc.pth')))
        net.init_weights()
        image = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            for got, expected in zip(net.eval()(image), whole(image)):
                assert torch.equal(got, expected)
        assert not any('unexpected' in line or 'missing' in line for line in log)

    def test_of_three_channels_are_repeated(self):
        whole, net = whole_stdc(), STDCShallow(6, 8).eval()
        net.load_state_dict(whole.state_dict())
        image = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            # Two equal halves of the input add up.
            got, expected = net(torch.cat([image / 2] * 2, 1)), whole(image)
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, expected))
            assert not torch.allclose(net(torch.cat([image] * 2, 1))[0], expected[0], atol=1e-2)

    def test_of_its_own_are_taken_as_they_are(self):
        source, net = spread_weights(STDCShallow(6, 8)), STDCShallow(6, 8)
        net.load_state_dict(source.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), source.state_dict().values()))


@pytest.mark.parametrize('width', [0, 7])
def test_width_is_checked(width):
    with pytest.raises(ValueError, match=f'base_channels must be a multiple of 2, got {width}'):
        STDCShallow(base_channels=width)
