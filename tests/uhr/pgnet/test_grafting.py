import math

import pytest
import torch
from torch import nn
from toy import spread_weights

from dsrl_mm.uhr.pgnet import CrossModelGrafting, GraftingNeck


@pytest.mark.parametrize('training', [True, False])
def test_grafting_by_hand(training):
    """Two positions of two channels, one head, and every linear layer the identity.

    LayerNorm makes (1, -1) and (-1, 1) of the CNN's tokens, and (-1, 1) and (1, -1) of the transformer's. A query meets
    a key like itself with 2 / sqrt(2), and the other with the opposite: shares sigmoid(2 sqrt(2)) and the rest.
    """
    graft = CrossModelGrafting(channels=2, num_heads=1).train(training)
    nn.init.zeros_(graft.convs[-1].bn.weight)  # the output is z
    for layer in (graft.key, graft.project):
        nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
    graft.query_value.weight.data = torch.eye(2).repeat(2, 1)
    nn.init.zeros_(graft.query_value.bias)
    cnn = torch.tensor([[3.0, 10.0], [1.0, 14.0]]).view(1, 2, 1, 2)  # by channel, then position
    transformer = torch.tensor([[0.0, 7.0], [2.0, 5.0]]).view(1, 2, 1, 2)
    out, attention = graft(cnn, transformer)
    share = 1 / (1 + math.exp(-2 * math.sqrt(2)))
    # The first position's query is like the second key, and reads mostly the second value, which is (-1, 1).
    first, second = 1 - 2 * share, 2 * share - 1
    expected = cnn + torch.tensor([[first, second], [-first, -second]]).view(1, 2, 1, 2)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    if training:
        shares = torch.tensor([[1 - share, share], [share, 1 - share]])
        torch.testing.assert_close(attention, shares.view(1, 1, 2, 2), rtol=1e-4, atol=1e-4)
    else:
        assert attention is None


def naive_grafting(graft: CrossModelGrafting, cnn: torch.Tensor, transformer: torch.Tensor) -> torch.Tensor:
    """z of one image (C, h, w), position by position and head by head."""
    channels, heads = cnn.shape[0], graft.num_heads
    tokens, others = cnn.flatten(1).T, transformer.flatten(1).T
    query, value = graft.query_value(graft.norm_cnn(tokens)).chunk(2, dim=1)
    key = graft.key(graft.norm_transformer(others))
    read = torch.zeros_like(tokens)
    width = channels // heads
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(tokens)):
            scores = torch.stack([query[i, part] @ key[j, part] for j in range(len(tokens))]) / math.sqrt(width)
            shares = scores.exp() / scores.exp().sum()
            read[i, part] = sum(share * value[j, part] for j, share in enumerate(shares))
    return (graft.project(read) + tokens).T.reshape(cnn.shape)


@pytest.mark.parametrize('training', [True, False])
def test_grafting_is_its_definition(training):
    graft = spread_weights(CrossModelGrafting(channels=12, num_heads=3)).train(training)
    cnn, transformer = torch.randn(2, 12, 2, 3), torch.randn(2, 12, 2, 3)
    z = torch.stack([naive_grafting(graft, *pair) for pair in zip(cnn, transformer)])
    torch.testing.assert_close(graft(cnn, transformer)[0], z + graft.convs(z), rtol=1e-4, atol=1e-5)


def test_the_neck_grafts_on_the_transformers_grid():
    neck = GraftingNeck(in_channels=(6, 5), channels=8, num_heads=2)
    inputs = [torch.randn(2, c, s, s + 1) for c, s in ((2, 16), (3, 8), (4, 4), (6, 2), (4, 8), (5, 3), (7, 2), (7, 2))]
    *passed, grafted, cnn, transformer, attention = neck(inputs)
    assert [x is inputs[i] for x, i in zip(passed, (0, 1, 2, 4, 6, 7))] == 6 * [True]
    assert grafted.shape == cnn.shape == transformer.shape == (2, 8, 3, 4) and attention.shape == (2, 2, 12, 12)
    torch.testing.assert_close(attention.sum(3), torch.ones(2, 2, 12))
    assert len(neck.eval()(inputs)) == 7


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match='num_heads=3 does not divide channels=64'):
        CrossModelGrafting(num_heads=3)
