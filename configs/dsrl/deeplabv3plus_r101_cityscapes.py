# DeepLabV3+-R101 with DSRL: Table 3 of the paper, "with". The network reads 512x1024 and predicts on 1024x2048.
_base_ = ['./deeplabv3plus_r101_cityscapes_baseline.py', '../_base_/models/sr_aux_resnet.py']
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # DeepLabV3+ predicts on stride 4 of the reduced image, 1/8 of the canvas: one deconvolution, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2,), norm_cfg={{_base_.sr_norm_cfg}}),
    ),
    sr_aux={{_base_.sr_aux}},
)
