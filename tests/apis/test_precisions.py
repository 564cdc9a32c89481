"""Files in float32, float16 and int8 of one tiny network: what they hold, and that they predict what it does."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from mmengine.config import Config

from dsrl_mm.apis import ExportOptions, load_runtime
from dsrl_mm.apis.export_files import export_files

onnx, openvino = pytest.importorskip('onnx'), pytest.importorskip('openvino')
pytestmark = pytest.mark.slow
SIZE = (96, 128)
ENDS = dict(float32='', float16='_half', int8='_int8')
#: Share of pixels of the same class in int8, as measured; below 0.6 if calibrated on images that are not normalized.
MEASURED = {'.onnx': 0.96, '.xml': 0.88}


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Four images, R G B, and their folder."""
    folder, images = tmp_path_factory.mktemp('images'), []
    rng = np.random.default_rng(0)
    for i in range(4):
        image = cv2.resize(rng.integers(256, size=(3, 4, 3), dtype=np.uint8), SIZE[::-1])
        cv2.imwrite(str(folder / f'{i}.png'), image[..., ::-1])
        images.append(image)
    return folder, torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.fixture(scope='module')
def expected(pictures):
    """A config, its model, normalized images and their logits, whose mean is 0, so that all classes occur."""
    backbone = toy.model_cfg()['backbone'] | dict(
        depth=10, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)
    )
    head = toy.head_cfg('FCNHead', in_channels=toy.CHANNELS[1], in_index=1)
    cfg = Config(dict(model=toy.model_cfg(dsrl=False, head=head, backbone=backbone)))
    model = toy.spread_weights(toy.build(cfg.model.to_dict())).eval()
    preprocessor = model.data_preprocessor
    images = (pictures[1] - preprocessor.mean) / preprocessor.std
    with torch.no_grad():
        model.decode_head.conv_seg.bias -= model(images).mean((0, 2, 3))
        return cfg, model, images, model(images)


@pytest.fixture(scope='module')
def folder(expected, pictures, tmp_path_factory):
    """The files of all precisions."""
    folder = tmp_path_factory.mktemp('exported')
    for precision in ENDS:
        options = ExportOptions(
            ['onnx', 'openvino'], SIZE, precision=precision, image_dir=pictures[0], calibration=4, verify=0
        )
        export_files(*expected[:2], {}, folder, options)
    return folder


@pytest.mark.parametrize('suffix', MEASURED)
@pytest.mark.parametrize('precision', ENDS)
def test_predictions_and_metadata(folder, expected, precision, suffix):
    runtime = load_runtime(folder / f'deploy{ENDS[precision]}{suffix}')
    packages = {'dsrl_mm', 'torch', 'onnx', 'onnxscript'}
    if suffix == '.xml':
        packages |= {'openvino'} | ({'nncf'} if precision == 'int8' else set())
    elif precision != 'float32':
        packages |= {'onnxruntime'}
    assert set(runtime.meta['versions']) == packages
    assert runtime.meta['versions']['onnx'] == onnx.__version__
    assert runtime.meta['precision'] == precision and runtime.meta['size'] == [*SIZE]
    found = torch.from_numpy(np.concatenate([runtime(image[None].numpy()) for image in expected[2]]))
    difference = (found - expected[3]).abs().max() / expected[3].abs().max()
    agreement = (found.argmax(1) == expected[3].argmax(1)).float().mean()
    if precision == 'int8':
        assert agreement > MEASURED[suffix] - 0.06
        assert difference > 1e-3
    elif precision == 'float16':
        assert agreement > 0.998
        assert 1e-5 < difference < 3e-3
    else:
        assert agreement > 0.9999
        assert difference < 1e-5


def test_files_are_smaller(folder):
    """Weights take 2 bytes and 1; an .onnx of so small a network is mostly its graph."""
    size = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert 0.45 < size['deploy_half.bin'] / size['deploy.bin'] < 0.55
    assert 0.25 < size['deploy_int8.bin'] / size['deploy.bin'] < 0.3
    assert size['deploy_half.onnx'] < 0.8 * size['deploy.onnx']
    assert size['deploy_int8.onnx'] < 0.8 * size['deploy.onnx']


def test_onnx_in_float16_throughout(folder):
    graph = onnx.load(folder / 'deploy_half.onnx').graph
    kinds = Counter(weights.data_type for weights in graph.initializer)
    assert kinds[onnx.TensorProto.FLOAT16] > 10 and not kinds[onnx.TensorProto.FLOAT]
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


def test_onnx_quantizes_all_operators_per_channel_on_the_images(folder, expected):
    graph = onnx.load(folder / 'deploy_int8.onnx').graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    origins = {name: node for node in graph.node for name in node.output}
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds['Conv'] == 11 and kinds['Add'] == 2 and kinds['Resize'] == 1
    for node in graph.node:
        if node.op_type in ('Conv', 'Add', 'Concat', 'MaxPool', 'Resize'):
            inputs = node.input[:1] if node.op_type == 'Resize' else node.input
            assert {origins[name].op_type for name in inputs} == {'DequantizeLinear'}, node.op_type
        if node.op_type == 'Conv':
            weights, scale = (constants[name] for name in origins[node.input[1]].input[:2])
            assert weights.dtype == np.int8 and scale.shape == weights.shape[:1]
    (scale,) = (
        constants[node.input[1]]
        for node in graph.node
        if node.op_type == 'QuantizeLinear' and origins[node.input[0]].op_type == 'AveragePool'
    )
    reduced = F.avg_pool2d(expected[2], 2)
    assert scale == pytest.approx((reduced.max() - reduced.min()).item() / 255, rel=1e-5)


def test_openvino_quantizes_what_convolutions_read(folder):
    operations = openvino.Core().read_model(folder / 'deploy_int8.xml').get_ops()
    kinds = Counter(operation.get_type_name() for operation in operations)
    assert kinds['FakeQuantize'] > kinds['Convolution'] == 11
    weights = [operation.get_element_type() for operation in operations if operation.get_type_name() == 'Constant']
    assert weights.count(openvino.Type.i8) == 11
