# Table 1 of the paper, "+ SSSR + SISR": without the affinity loss.
_base_ = './deeplabv3plus_r101_cityscapes.py'
model = dict(sr_aux=dict(fa=None))
