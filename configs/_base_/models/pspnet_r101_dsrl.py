# PSPNet-R101 with DSRL, the paper's form. The options of its parts, here and in all configs; defaults in brackets:
#   upsampler: channels (64), factors (one enlargement per deconvolution). type='SubPixelUpsampler' costs less.
#   decode_head.skip: in_index and in_channels of an early feature map that the stack also reads (None): *_early.py.
#   sr_aux.head: loss_weight (0.1: the paper's w1), channels (64), pixel_loss (dict(type='torch.nn.MSELoss')), and
#     residual (False): predict only what the enlarged network input lacks of the canvas.
#   sr_aux.fa: loss_weight (1.0: w2), q (1) of the norm, subsample and sampling ('pool') of the positions compared,
#     center (False): compare correlations; detach_guide (False): pass no gradient to the SISR features. None: no FA.
#   sr_aux.fa_on ('features'): 'outputs' compares logits and image, 'labels' the features with the labels.
_base_ = './pspnet_r101.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # Two deconvolutions: from stride 8 of the network's input, 1/16 of the canvas, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2, 2), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        # Stage 1 has stride 4 on the network's input, so 8 on the canvas.
        head=dict(
            type='SISRAuxHead',
            in_channels=(256, 2048),
            in_index=(0, 3),
            upscale_factor=8,
            norm_cfg={{_base_.norm_cfg}},
        ),
        # SSSR's features lie on 1/4 of the canvas: compared on the paper's 1/8.
        fa=dict(type='FALoss', subsample=2),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
