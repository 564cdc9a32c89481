# The row "+ SSSR" of the paper's ablation (its Table 1, there at 256x512): nothing exists only while training.
_base_ = './deeplabv3plus_r101_cityscapes.py'
model = dict(sr_aux=None)
