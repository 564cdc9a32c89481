# The row "+ SSSR + SISR" of the paper's ablation (its Table 1, there at other sizes): no affinity loss.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid.py'
model = dict(sr_aux=dict(fa=None))
