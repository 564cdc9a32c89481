# The row "+ SSSR" of the paper's ablation (its Table 1): nothing exists only while training.
_base_ = './deeplabv3plus_r101_cityscapes_256x512.py'
model = dict(sr_aux=None)
