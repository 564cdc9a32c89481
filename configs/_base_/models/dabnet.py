# DABNet (Li & Kim, BMVC 2019, https://arxiv.org/abs/1907.11357). With its stock head: the baseline.
#
# How the authors train it, from scratch (train.py, README.md and utils/ of https://github.com/Reagan1311/DABNet; the
# augmentation as in its port, https://github.com/WenmuZhou/DABNet_Paddle, dataset/):
#   Cityscapes: SGD, lr 0.045, momentum 0.9, weight decay 1e-4, batch 8, crops of 512x1024; cross-entropy, with class
#     weights, of the hardest pixels, at least 1/16 of them: as below, where labels are on the 1024x2048 canvas, but
#     without the weights, which the original mmsegmentation 1.2.2 cannot combine with ignored pixels.
#   CamVid, trainval: Adam, lr 1e-3, weight decay 2e-4, batch 16, crops of 360x480; cross-entropy with class weights
#     1 / ln(1.10 + share of the pixels).
#   Both: 1000 epochs (on Cityscapes 372k iterations); 500 iterations of warm-up from a third of the rate, then poly to
#     0 with power 0.9; resizing by one of 0.75, 1, 1.25, 1.5, 1.75, 2, a random crop, a random flip, no change of
#     colors; the mean is subtracted, but nothing divided by the standard deviation. Weight decay spares nothing, not
#     even PReLU's slopes.
_base_ = '../segmentor.py'
norm_cfg = dict(type='SyncBN', eps=1e-3, requires_grad=True)  # eps: the authors'
model = dict(
    backbone=dict(type='DABNet', norm_cfg=norm_cfg),
    # A 1x1 classifier on the last of the backbone's outputs (35, 131 and 259 channels at strides 2, 4 and 8).
    decode_head=dict(
        type='FCNHead',
        in_channels=259,
        in_index=2,
        channels=259,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0,
        num_classes=19,
        align_corners=False,
        sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=1024 * 2048 // 16),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
)
