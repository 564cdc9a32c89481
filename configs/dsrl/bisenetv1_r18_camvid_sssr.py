# The row "+ SSSR" of the paper's ablation (its Table 1, there on Cityscapes): nothing exists only while training.
_base_ = './bisenetv1_r18_camvid.py'
model = dict(sr_aux=None)
