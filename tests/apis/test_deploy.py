import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.apis import MMSegInferencer, inference_model, init_model
from toy import NUM_CLASSES, auxiliary_head_cfg, batch, build, head_cfg, model_cfg, spread_weights

from dsrl_mm.apis import ExportOptions, build_deploy_model, deploy_config, save_deploy
from dsrl_mm.apis.deploy import _halve

FRAME = (24, 32)


@pytest.fixture
def run(tmp_path):
    """The config and the checkpoint of a training, and its model in eval mode."""
    cfg = Config(
        dict(
            model=model_cfg(
                auxiliary_head=auxiliary_head_cfg(), test_cfg=dict(mode='whole', with_sr=True), pretrained=None
            )
        )
    )
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='nowhere.pth')
    model = spread_weights(build(cfg.model.to_dict())).eval()
    path = tmp_path / 'iter_9.pth'
    meta = dict(dataset_meta=dict(classes=list('abcde')), iter=9, cfg=cfg.pretty_text, seed=1)
    torch.save(dict(state_dict=model.state_dict(), meta=meta, optimizer=dict(state={})), path)
    return cfg, path, model


def logits_of(model, data):
    return torch.stack([sample.seg_logits.data for sample in model.test_step(data)])


class TestConfig:
    def test_leaves_out_what_training_needs(self, run):
        cfg, _, _ = run
        before = cfg.pretty_text
        deployed = deploy_config(cfg).model
        assert deployed.sr_aux is None and deployed.auxiliary_head is None
        assert 'init_cfg' not in deployed.backbone and deployed.pretrained is None
        assert deployed.test_cfg == dict(mode='whole')  # with_sr asked for the SISR branch
        assert deployed.low_res_input is False
        assert deployed.decode_head == cfg.model.decode_head
        assert cfg.pretty_text == before

    def test_lr_frames_are_taken_whole(self, run):
        cfg, _, _ = run
        cfg.model.test_cfg = dict(mode='slide', crop_size=(48, 64), stride=(48, 64))
        assert deploy_config(cfg).model.test_cfg.mode == 'slide'
        deployed = deploy_config(cfg, low_res_input=True).model
        assert deployed.low_res_input is True and deployed.test_cfg == dict(mode='whole')

    @pytest.mark.parametrize('frame', [FRAME, (16, 30)])
    def test_frames_are_padded_to_what_is_read_of_the_canvas(self, run, tmp_path, frame):
        cfg, path, _ = run
        resize = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 48)), dict(type='PackSegInputs')]
        cfg.test_pipeline = cfg.tta_pipeline = resize
        cfg.test_dataloader = dict(dataset=dict(pipeline=resize))
        cfg.test_evaluator = cfg.test_cfg = dict()
        cfg.model.data_preprocessor.test_cfg = dict(size=(48, 64))  # as CamVid's configs have
        save_deploy(cfg, path, tmp_path, low_res_input=True)
        model = init_model(str(tmp_path / 'deploy.py'), str(tmp_path / 'deploy.pth'), device='cpu')
        read = []
        model.backbone.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[-2:]))
        mask = inference_model(model, np.zeros((*frame, 3), np.uint8)).pred_sem_seg.data
        assert read == [FRAME]
        assert mask.shape == (1, 2 * frame[0], 2 * frame[1])

    def test_frames_are_loaded_as_canvases_were(self, run):
        cfg, _, _ = run
        load = dict(type='LoadImageFromFile', color_type='grayscale')
        steps = [load, dict(type='Resize', scale=(64, 48)), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
        cfg.test_dataloader = dict(dataset=dict(pipeline=steps))
        assert deploy_config(cfg, low_res_input=True).test_pipeline == [load, dict(type='PackSegInputs')]

    def test_mmsegs_inferencer_takes_it(self, run, tmp_path):
        cfg, path, _ = run
        cfg.visualizer = dict(type='SegLocalVisualizer')
        files = save_deploy(cfg, path, tmp_path, low_res_input=True)
        inferencer = MMSegInferencer(
            str(files[0]), str(files[1]), device='cpu', classes=list('abcde'), palette=[[0] * 3] * 5
        )
        mask = inferencer(np.zeros((*FRAME, 3), np.uint8))['predictions']
        assert mask.shape == (2 * FRAME[0], 2 * FRAME[1])

    def test_a_stock_segmentor_has_no_low_resolution_entrance(self, run):
        cfg, _, _ = run
        cfg.model.type = 'EncoderDecoder'
        assert deploy_config(cfg).model.auxiliary_head is None
        with pytest.raises(ValueError, match="model.type is 'EncoderDecoder', which reads the whole canvas"):
            deploy_config(cfg, low_res_input=True)


class TestModel:
    def test_predicts_the_same_bit_for_bit(self, run):
        cfg, path, model = run
        deployed = build_deploy_model(cfg, path)
        assert not deployed.training
        names = {name.split('.')[0] for name, _ in deployed.named_parameters()}
        assert names == {'backbone', 'decode_head'}
        assert torch.equal(logits_of(deployed, batch((47, 63))), logits_of(model, batch((47, 63))))

    def test_baseline(self, run, tmp_path):
        cfg = Config(dict(model=model_cfg(dsrl=False)))
        model = spread_weights(build(cfg.model.to_dict())).eval()
        torch.save(model.state_dict(), tmp_path / 'bare.pth')  # a plain state dict
        deployed = build_deploy_model(cfg, tmp_path / 'bare.pth')
        assert torch.equal(logits_of(deployed, batch()), logits_of(model, batch()))

    def test_checkpoint_of_another_model(self, run):
        cfg, path, _ = run
        cfg.model.decode_head = head_cfg('UPerHead')
        with pytest.raises(ValueError, match=r'iter_9.pth lacks weights .*decode_head.fpn_convs'):
            build_deploy_model(cfg, path)


class TestFiles:
    def test_run_without_the_training(self, run, tmp_path):
        cfg, path, model = run
        files = save_deploy(cfg, path, tmp_path / 'new' / 'folder')
        assert [file.name for file in files] == ['deploy.py', 'deploy.pth']
        assert all(file.parent == tmp_path / 'new' / 'folder' for file in files)

        saved = torch.load(files[1], weights_only=True)
        assert len(saved['meta'].pop('fingerprint')) == 64
        assert saved['meta'] == dict(dataset_meta=dict(classes=list('abcde')), iter=9)
        assert {name.split('.')[0] for name in saved['state_dict']} == {'backbone', 'decode_head'}
        assert files[1].stat().st_size < path.stat().st_size

        deployed = build(Config.fromfile(files[0]).model.to_dict(), seed=1).eval()
        load_checkpoint(deployed, str(files[1]), strict=True)
        assert torch.equal(logits_of(deployed, batch()), logits_of(model, batch()))

    def test_float16_halves_the_file_and_hardly_changes_a_prediction(self, run, tmp_path):
        cfg, path, model = run
        full, small = (save_deploy(cfg, path, tmp_path / str(half), half=half)[1] for half in (False, True))
        assert small.stat().st_size < 0.6 * full.stat().st_size
        state_dict = torch.load(small, weights_only=True)['state_dict']
        assert state_dict['backbone.stem.0.weight'].dtype == torch.float16
        assert state_dict['backbone.stem.1.running_var'].dtype == torch.float32  # which may outgrow float16
        deployed = build_deploy_model(cfg, small)
        assert next(deployed.parameters()).dtype == torch.float32
        torch.testing.assert_close(logits_of(deployed, batch()), logits_of(model, batch()), rtol=0.02, atol=0.02)

    def test_float16_leaves_indices_alone_and_refuses_what_it_cannot_hold(self):
        index = torch.tensor([[2049, 2051]])
        assert torch.equal(_halve('a', index), index)
        with pytest.raises(ValueError, match='deploy: a.b exceeds the range of float16'):
            _halve('a.b', torch.tensor([[7e4]]))

    def test_deploying_again_changes_nothing(self, run, tmp_path):
        cfg, path, model = run
        config, weights = save_deploy(cfg, path, tmp_path / 'once')
        again = save_deploy(Config.fromfile(config), weights, tmp_path / 'twice')
        assert again[0].read_text() == config.read_text()
        deployed = build_deploy_model(Config.fromfile(again[0]), again[1])
        assert torch.equal(logits_of(deployed, batch()), logits_of(model, batch()))

    def test_exported_files_of_another_model_are_removed(self, run, tmp_path, monkeypatch, capsys):
        def export(_, model, meta, folder, options):
            for name in options.formats:
                (folder / name).write_text('new')
            return [folder / name for name in options.formats]

        monkeypatch.setattr('dsrl_mm.apis.deploy.export_files', export)
        cfg, path, model = run

        def files(*names, **options):
            save_deploy(cfg, path, tmp_path / 'out', export=ExportOptions(names), **options)
            return {file.name for file in (tmp_path / 'out').iterdir()} - {'deploy.py', 'deploy.pth'}

        assert files('deploy.xml', 'deploy.bin') == {'deploy.xml', 'deploy.bin'}
        (tmp_path / 'out/mine.onnx').touch()
        both = {'deploy.xml', 'deploy.bin', 'deploy_half.onnx', 'mine.onnx'}
        assert files('deploy_half.onnx', half=True) == both  # of the same model
        assert capsys.readouterr().out == ''
        assert files('deploy.xml', low_res_input=True) == {'deploy.xml', 'mine.onnx'}
        removed = 'deploy.bin: removed, because it was exported from another model'
        assert capsys.readouterr().out.splitlines() == [removed, removed.replace('.bin', '_half.onnx')]
        torch.save(dict(state_dict={name: value + 1 for name, value in model.state_dict().items()}), path)
        assert files(low_res_input=True) == {'mine.onnx'}
        (tmp_path / 'out/deploy.onnx').touch()
        (tmp_path / 'out/deploy.pth').write_bytes(b'damaged')
        assert files(low_res_input=True) == {'mine.onnx'}


class TestExport:
    def test_gives_what_the_model_gives(self, run, tmp_path):
        cfg, path, _ = run
        size = (47, 63)  # odd, so the padding inside is exported too
        file = save_deploy(cfg, path, tmp_path, export=ExportOptions(['pt2'], size, verify=0))[2]
        assert file.name == 'deploy.pt2'
        program = torch.export.load(file).module()
        image = torch.randn(1, 3, *size)
        expected = build_deploy_model(cfg, path)(image)
        assert expected.shape == (1, NUM_CLASSES, *size)
        torch.testing.assert_close(program(image), expected)
