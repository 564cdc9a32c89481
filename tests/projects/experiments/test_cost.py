from torch import nn

from projects.experiments.cost import peak_memory


def test_peak_memory():
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(), nn.Conv2d(8, 2, 1, bias=False)).eval()
    weights, image, features = 3 * 8 + 8 * 2, 3 * 4 * 5, 8 * 4 * 5
    # the first convolution's output is freed when the ReLU returns, and the logits are smaller
    assert peak_memory(model, (3, 4, 5)) == 4 * (weights + image + 2 * features)
