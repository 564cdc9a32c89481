"""The papers' pictures: every panel shows what it says, where it is."""

import cv2
import numpy as np
import pytest
import torch
import toy
import toy_data
from mmengine.config import Config
from mmengine.registry import init_default_scope

from dsrl_mm.apis import Inferencer, save_deploy
from dsrl_mm.apis.compare import Trained
from dsrl_mm.apis.figures import (
    Sampled,
    draw_classes,
    draw_features,
    draw_keypoints,
    draw_masks,
    draw_rebuilt,
    evenly_spaced,
)
from dsrl_mm.apis.figures.grid import Panel, draw_grid
from dsrl_mm.seg import CamVidDataset

HEIGHT, WIDTH = toy.SIZE


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Config and checkpoint of a baseline and of DSRL, by name."""
    folder = tmp_path_factory.mktemp('figures')
    data, head = toy_data.write_camvid(folder / 'data', 1, 5), toy.head_cfg('FCNHead', num_classes=toy_data.NUM_CLASSES)
    return {
        name: toy_data.write_trained(folder / name, data, model=toy.model_cfg(dsrl=name == 'DSRL', head=head))
        for name in ('baseline', 'DSRL')
    }


@pytest.fixture(scope='module')
def models(files):
    return [Sampled(name, Trained(*both)) for name, both in files.items()]


def changed(files, name='DSRL', **options):
    """A model with another config."""
    cfg = Config.fromfile(files[name][0])
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return Sampled('changed', Trained(cfg, files[name][1]))


def image_file(files, index):
    return files['DSRL'][1].parents[1] / f'data/images/val/val_{index}.png'


def rgb(file):
    return cv2.imread(str(file))[..., ::-1]


def panels(figure, row=0):
    """Titles and axes of a row."""
    rows = {}
    for axis in figure.axes:
        rows.setdefault(axis.get_subplotspec().rowspan.start, []).append(axis)
    titles = [axis.get_title() for axis in rows[0]]
    return dict(zip(titles, rows[row]))


def picture(axis):
    return np.asarray(axis.images[0].get_array())


class TestMasks:
    def test_panels(self, models, files):
        figure = draw_masks(models, [3, 1])
        palette = np.array(CamVidDataset.METAINFO['palette'])
        for row, index in enumerate((3, 1)):
            found = panels(figure, row)
            assert [*found] == ['image', 'ground truth', 'baseline', 'DSRL']
            file = image_file(files, index)
            assert (picture(found['image']) == rgb(file)).all()
            label = cv2.imread(str(file.parents[2] / f'labels/val/{file.name}'), cv2.IMREAD_UNCHANGED)
            assert (picture(found['ground truth']) == palette[label]).all()
            for name, both in files.items():
                # The toy config has another pipeline in its data loader only.
                mask = Inferencer(*both, device='cpu', cfg_options=dict(test_pipeline=None))(file).mask
                assert len(np.unique(mask)) > 1
                assert (picture(found[name]) == palette[mask]).all()

    def test_titles_are_above_the_first_row_only(self, models):
        figure = draw_masks(models, [3, 1])
        assert [axis.get_title() for axis in figure.axes[4:]] == [''] * 4

    def test_legend(self, models):
        (legend,) = draw_masks(models, [0]).legends
        assert [text.get_text() for text in legend.get_texts()] == [*CamVidDataset.METAINFO['classes'], 'unlabeled']

    def test_detail(self, models):
        figure = draw_masks(models, [0, 1], (8, 4, 40, 20))
        whole, part = panels(figure), panels(figure, 1)
        assert len(figure.axes) == 16
        for name, axis in part.items():
            assert axis.get_xlim() == (8, 40) and axis.get_ylim() == (20, 4)
            assert whole[name].get_xlim() == (0, WIDTH) and whole[name].get_ylim() == (HEIGHT, 0)
            assert (picture(axis) == picture(whole[name])).all()
            assert {box.get_bbox().bounds for box in whole[name].patches} == {(8, 4, 32, 16)} and not axis.patches

    def test_images_of_two_sizes(self):
        rows = [dict(image=Panel(np.zeros((*size, 3), np.uint8), size)) for size in ((48, 64), (30, 20))]
        figure = draw_grid(rows, [(48, 64), (30, 20)], detail=(0, 0, 8, 8))
        assert [axis.get_xlim()[1] for axis in figure.axes] == [64, 8, 20, 8]
        assert [axis.get_ylim()[0] for axis in figure.axes] == [48, 8, 30, 8]

    @pytest.mark.parametrize('detail', [(0, 0, WIDTH + 1, 8), (8, 8, 8, 16), (-1, 0, 8, 8)])
    def test_detail_outside(self, models, detail):
        with pytest.raises(ValueError, match=r'is no part of images of 48x64 pixels \(height x width\)'):
            draw_masks(models, [0], detail)

    def test_a_label_larger_than_the_canvas(self, files):
        """All panels cover the scene, whatever they were resized to."""
        steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 24))]
        steps += [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
        model = changed(files, test_dataloader__dataset__pipeline=steps)
        found = panels(draw_masks([model], [0]))
        assert [picture(axis).shape[0] for axis in found.values()] == [24, 48, 48]
        assert {tuple(axis.images[0].get_extent()) for axis in found.values()} == {(0, WIDTH, HEIGHT, 0)}

    @pytest.mark.parametrize('index', [-1, 5])
    def test_samples_out_of_range(self, models, index):
        with pytest.raises(ValueError, match=f'baseline has 5 samples, 0 to 4: there is no {index}'):
            draw_masks(models, [0, index])

    def test_other_classes(self, models, files):
        other = changed(files, test_dataloader__dataset__metainfo=dict(classes=('Sky', 'Road'), palette=[[0] * 3] * 2))
        with pytest.raises(ValueError, match='classes of DSRL are Sky, Building, .* those of changed are Sky, Road'):
            draw_masks([models[1], other], [0])

    def test_other_test_sets(self, models, files):
        other = changed(files, test_dataloader__dataset__indices=2)
        with pytest.raises(ValueError, match='baseline has 5 samples, and that of changed has 2'):
            draw_masks([models[0], other], [0])


class TestRebuilt:
    def test_panels(self, models, files):
        found = panels(draw_rebuilt(models[1:], [2]))
        assert [*found] == ['network input', 'bilinear enlargement', 'rebuilt image', 'original']
        assert (picture(found['original']) == rgb(image_file(files, 2))).all()
        sample = models[1].predict(models[1][2])  # with test_cfg.with_sr
        expected = sample.sr_img.data.clamp(0, 255).round().byte().numpy()[::-1].transpose(1, 2, 0)
        assert (picture(found['rebuilt image']) == expected).all()
        reduced = picture(found['original']).reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
        np.testing.assert_allclose(picture(found['network input']), reduced, atol=0.51)

    def test_odd_sides_and_padding(self, files):
        """A perfect branch gives the original, and the network input lies where its pixels come from."""
        steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(61, 45), keep_ratio=False)]
        steps += [dict(type='PackSegInputs')]
        options = {
            'model__data_preprocessor__test_cfg': dict(size=(64, 80)),
            'test_dataloader__dataset__pipeline': steps,
        }
        model = changed(files, **options)
        model.model.reconstruct = lambda inputs: inputs
        found = panels(draw_rebuilt([model], [0]))
        assert picture(found['original']).shape == (45, 61, 3)
        assert (picture(found['rebuilt image']) == picture(found['original'])).all()
        assert picture(found['network input']).shape == (23, 31, 3)
        assert found['network input'].images[0].get_extent() == [0, 62, 46, 0]
        assert found['network input'].get_xlim() == (0, 61)

    def test_a_baseline(self, models):
        with pytest.raises(ValueError, match=r'baseline rebuilds no images: its config has no SISR branch'):
            draw_rebuilt(models, [0])

    def test_a_deployed_checkpoint(self, files, tmp_path):
        save_deploy(Config.fromfile(files['DSRL'][0]), files['DSRL'][1], tmp_path)
        model = Sampled('mine', Trained(files['DSRL'][0], tmp_path / 'deploy.pth'))
        with pytest.raises(ValueError, match=r'mine rebuilds no images.*deploy\.pth lacks the weights'):
            draw_rebuilt([model], [0])


class TestFeatures:
    def test_are_what_the_affinity_loss_compares(self, models):
        (model,), seen = models[1:], {}
        for name, part in (('SSSR', model.model.decode_head.upsampler), ('SISR', model.model.sr_aux.head)):
            part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out[0]}))
        found = panels(draw_features([model], [1]))
        assert [*found] == ['image', 'SSSR features', 'SISR features']
        for name, feat in seen.items():
            np.testing.assert_array_equal(picture(found[f'{name} features']), feat[0].mean(0).numpy())

    def test_names_of_two_models(self, models, files):
        titles = panels(draw_features([models[1], changed(files, model__sr_aux=None)], [1]))
        assert [*titles] == ['image', 'DSRL: SSSR features', 'DSRL: SISR features', 'changed: SSSR features']

    def test_lie_where_they_are_in_a_padded_canvas(self, files):
        model = changed(files, model__data_preprocessor__test_cfg=dict(size=(64, 96)))
        found = panels(draw_features([model], [0]))
        assert picture(found['SISR features']).shape == (8, 12)  # a quarter of the network's input
        assert found['SISR features'].images[0].get_extent() == [0, 96, 64, 0]
        assert found['SISR features'].get_xlim() == (0, WIDTH)

    def test_a_baseline(self, models):
        with pytest.raises(ValueError, match='baseline has no features to draw'):
            draw_features(models[:1], [0])


class TestClasses:
    TABLE = {
        'baseline': {'mIoU': 50.0, 'IoU.a': 40.0, 'IoU.b': 60.0, 'IoU.c': float('nan'), 'aAcc': 1.0},
        'DSRL': {'mIoU': 52.5, 'IoU.a': 50.0, 'IoU.b': 55.0, 'IoU.c': float('nan'), 'sr/PSNR': 30.0},
    }

    def test_bars(self):
        (axis,) = draw_classes(self.TABLE).axes
        heights = [bar.get_height() for bar in axis.patches]
        np.testing.assert_array_equal(heights, [40, 60, np.nan, 50, 50, 55, np.nan, 52.5])
        assert [label.get_text() for label in axis.get_xticklabels()] == ['a', 'b', 'c', 'mean']
        assert [text.get_text() for text in axis.texts] == ['+10.0', '-5.0', '+2.5']
        # Above the higher bar of the two.
        assert [text.get_position()[1] for text in axis.texts] == [51, 61, 53.5]
        middles = [bar.get_x() + bar.get_width() / 2 for bar in axis.patches]
        assert [text.get_position()[0] for text in axis.texts] == pytest.approx([middles[i] for i in (4, 1, 7)])

    def test_one_or_three_models_have_no_differences(self):
        assert not draw_classes({'a': self.TABLE['DSRL']}).axes[0].texts
        assert not draw_classes(self.TABLE | {'more': self.TABLE['DSRL']}).axes[0].texts

    def test_other_classes(self):
        with pytest.raises(ValueError, match='classes of baseline are a, b, c, but those of d are a'):
            draw_classes(self.TABLE | {'d': {'IoU.a': 1.0, 'mIoU': 1.0}})

    def test_no_classes(self):
        with pytest.raises(ValueError, match=r'scores of a have no IoU\.CLASS'):
            draw_classes({'a': {'mIoU': 1.0}})

    def test_too_many_models(self):
        with pytest.raises(ValueError, match='8 models are too many'):
            draw_classes({str(i): self.TABLE['DSRL'] for i in range(8)})


def test_evenly_spaced(models):
    assert evenly_spaced(models, 3) == [0, 2, 4]


@pytest.fixture(scope='module')
def pose(tmp_path_factory):
    pytest.importorskip('mmpose')
    import toy_pose
    from toy_coco import coco_config, write_coco

    init_default_scope('mmpose')
    folder = tmp_path_factory.mktemp('pose')
    cfg = Config(coco_config(write_coco(folder / 'coco')))
    cfg.model = toy_pose.model_cfg(head=toy_pose.head_cfg(out_channels=17))
    for step in cfg.test_dataloader.dataset.pipeline:
        if step.type == 'TopdownAffine':
            step.input_size = toy_pose.CANVAS
    torch.save(toy_pose.build(cfg.model.to_dict()).state_dict(), folder / 'pose.pth')
    return Sampled('DSRL', Trained(cfg, folder / 'pose.pth'))


class TestPoses:
    def test_keypoints_lie_where_the_crop_has_them(self, pose, monkeypatch):
        from mmpose.structures.bbox import get_warp_matrix

        sample = pose[1]
        meta, truth = sample['data_samples'].metainfo, sample['data_samples'].gt_instances
        warp = get_warp_matrix(meta['input_center'], meta['input_scale'], 0, meta['input_size'])
        expected = truth.keypoints[0] @ warp[:, :2].T + warp[:, 2]
        predicted = pose.predict(sample)
        predicted.pred_instances.keypoint_scores[:] = [[0.9] * 16 + [0.2]]
        monkeypatch.setattr(pose, 'predict', lambda sample: predicted)
        found = panels(draw_keypoints([pose], [1]))
        assert [*found] == ['ground truth', 'DSRL']
        assert (picture(found['DSRL']) == sample['inputs'].numpy()[::-1].transpose(1, 2, 0)).all()
        points = {name: np.asarray(axis.collections[0].get_offsets()) for name, axis in found.items()}
        assert points['ground truth'] == pytest.approx(expected, abs=1e-3)
        own = predicted.pred_instances.keypoints[0] @ warp[:, :2].T + warp[:, 2]
        assert points['DSRL'] == pytest.approx(own[:16], abs=1e-3)  # not the improbable right ankle
        assert len(found['ground truth'].lines) == 19 and len(found['DSRL'].lines) == 18

    def test_keypoints_of_udp(self, pose, monkeypatch):
        from mmpose.registry import KEYPOINT_CODECS
        from mmpose.structures.bbox import get_udp_warp_matrix

        sample = pose[1]
        meta, truth = sample['data_samples'].metainfo, sample['data_samples'].gt_instances
        warp = get_udp_warp_matrix(meta['input_center'], meta['input_scale'], 0, meta['input_size'])
        udp = dict(type='UDPHeatmap', input_size=meta['input_size'], heatmap_size=meta['input_size'])
        monkeypatch.setattr(pose, 'predict', lambda sample, found=pose.predict(sample): found)
        monkeypatch.setattr(pose.model.head, 'decoder', KEYPOINT_CODECS.build(udp))
        (points,) = panels(draw_keypoints([pose], [1]))['ground truth'].collections
        assert np.asarray(points.get_offsets()) == pytest.approx(
            truth.keypoints[0] @ warp[:, :2].T + warp[:, 2], abs=1e-3
        )

    def test_rebuilt_crops_and_features(self, pose, monkeypatch):
        monkeypatch.setattr(pose.model, 'reconstruct', lambda inputs: inputs)
        found = panels(draw_rebuilt([pose], [0]))
        assert (picture(found['rebuilt image']) == picture(found['original'])).all()
        assert [*panels(draw_features([pose], [0]))] == ['image', 'SSSR features', 'SISR features']

    def test_they_have_no_masks(self, pose):
        with pytest.raises(ValueError, match='estimates poses, which have no masks'):
            draw_masks([pose], [0])

    def test_segmentors_have_none(self, models):
        with pytest.raises(ValueError, match='baseline segments images'):
            draw_keypoints(models, [0])
