# The row "+ SSSR + SISR" of the paper's ablation (its Table 1, there at 256x512): no affinity loss.
_base_ = './deeplabv3plus_r101_cityscapes.py'
model = dict(sr_aux=dict(fa=None))
