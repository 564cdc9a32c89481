# The row "+ SSSR + SISR" of the paper's ablation (its Table 1): no affinity loss.
_base_ = './espnetv2_cityscapes_256x512.py'
model = dict(sr_aux=dict(fa=None))
