# The row "+ SSSR + SISR" of the paper's ablation (its Table 1, there on Cityscapes): no affinity loss.
_base_ = './pspnet_r18_camvid.py'
model = dict(sr_aux=dict(fa=None))
