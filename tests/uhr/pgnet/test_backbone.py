import pytest
import torch
from mmseg.models.backbones import SwinTransformer
from toy import build
from toy_pgnet import BACKBONE, CNN, TRANSFORMER

FOUR_STAGES = dict(TRANSFORMER, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8))


@pytest.mark.parametrize(
    ('size', 'transformer_size'), [((64, 96), 32), ((65, 97), (16, 40)), ((33, 200), 30), ((32, 32), 32)]
)
def test_features_of_any_size(size, transformer_size):
    backbone = build(dict(BACKBONE, transformer_size=transformer_size)).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, *size))
    small = (transformer_size,) * 2 if isinstance(transformer_size, int) else transformer_size
    expected = [(c, *(-(-side // s) for side in size)) for c, s in ((8, 4), (16, 8), (32, 16), (64, 32))]
    expected += [(c, *(-(-side // s) for side in small)) for c, s in ((8, 4), (16, 8), (32, 16), (32, 16))]
    assert [tuple(x.shape[1:]) for x in features] == expected


def stock(**overrides) -> SwinTransformer:
    swin = build(dict(TRANSFORMER, **overrides))
    swin.eval()  # returns nothing
    return swin


@pytest.mark.parametrize('options', [{}, dict(use_abs_pos_embed=True, pretrain_img_size=32)], ids=['', 'absolute'])
def test_taps_of_the_transformer(options):
    """s1 to s3 are what enters a stage of a stock Swin Transformer, and s4 what leaves the last, not normalized."""
    swin = stock(out_indices=(2,), **options)
    swin.norm2 = torch.nn.Identity()
    if options:
        torch.nn.init.normal_(swin.absolute_pos_embed)
    backbone = build(dict(BACKBONE, transformer=dict(TRANSFORMER, **options))).eval()
    backbone.transformer.load_state_dict(swin.state_dict())
    entered = []
    for stage in swin.stages:
        stage.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    image = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        s1, s2, s3, s4 = backbone(image)[4:]
        (last,) = swin(torch.nn.functional.interpolate(image, (32, 32), mode='bilinear', align_corners=True))
    torch.testing.assert_close(s4, last)
    for tap, tokens in zip((s1, s2, s3), entered, strict=True):
        torch.testing.assert_close(tap.flatten(2).transpose(1, 2), tokens)


def test_the_cnn_reads_the_image():
    backbone = build(BACKBONE).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for found, expected in zip(backbone(image), backbone.cnn(image)):
            assert torch.equal(found, expected)


def test_weights_of_four_stages_fill_three(tmp_path):
    swin = stock(depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8))
    torch.save({f'backbone.{name}': tensor for name, tensor in swin.state_dict().items()}, tmp_path / 'swin.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth'))
    backbone = build(dict(BACKBONE, transformer=dict(TRANSFORMER, init_cfg=init_cfg)), seed=1)
    backbone.init_weights()
    weights = swin.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in backbone.transformer.state_dict().items())


@pytest.mark.parametrize(
    ('overrides', 'error', 'message'),
    [
        (dict(transformer=FOUR_STAGES), ValueError, r'has 4 stages, and the decoder reads 3.*depths=\(2, 2, 18\)'),
        (dict(transformer=CNN), TypeError, "transformer.type is 'ResNet'.*'SwinTransformer'"),
        (dict(transformer_size=0), ValueError, r'transformer_size is a number of pixels.*got 0'),
        (dict(transformer_size=(32, 32, 3)), ValueError, r'got \(32, 32, 3\)'),
    ],
)
def test_bad_configs_are_refused(overrides, error, message):
    with pytest.raises(error, match=message):
        build(BACKBONE | overrides)


def test_three_maps_of_the_cnn_are_refused():
    backbone = build(dict(BACKBONE, cnn=dict(CNN, out_indices=(1, 2, 3))))
    with pytest.raises(ValueError, match='returns 3 feature maps.*cnn.out_indices'):
        backbone(torch.randn(2, 3, 64, 64))
