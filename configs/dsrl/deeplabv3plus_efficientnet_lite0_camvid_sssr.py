# The row "+ SSSR" of the paper's ablation (its Table 1, there at other sizes): nothing exists only while training.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid.py'
model = dict(sr_aux=None)
