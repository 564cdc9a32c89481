"""The benchmarks on pose networks. They are here because they need MMPose."""

from math import isfinite

from mmengine.config import Config
from toy_pose import CANVAS, model_cfg

from tools.analysis_tools.benchmark_inference import prediction
from tools.analysis_tools.benchmark_step import training_step


def test_a_training_step_computes_all_losses():
    optimizer = dict(optimizer=dict(type='SGD', lr=0.1))
    loader = dict(batch_size=2)
    cfg = Config(dict(default_scope='mmpose', model=model_cfg(), optim_wrapper=optimizer, train_dataloader=loader))
    step = training_step(cfg, channels_last=True)
    first, second = step(), step()
    for name in ('loss_kpt', 'sr.loss_sisr', 'sr.loss_fa'):
        assert isfinite(first[name]) and first[name] > 0
    assert second['sr.loss_sisr'] != first['sr.loss_sisr']


def test_predicts_on_the_canvas(tmp_path):
    path = tmp_path / 'pose.py'
    path.write_text(f"default_scope = 'mmpose'\nmodel = {model_cfg()!r}\n")
    predict = prediction(str(path), CANVAS[::-1], {}, amp=True)
    model, canvas, _ = predict.args
    assert model.sr_aux is None and canvas.shape == (1, 3, *CANVAS[::-1])
    predict()
