# The row "+ SSSR + SISR" of deeplabv3plus_efficientnet_lite0_camvid_early.py: no affinity loss.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid_early.py'
model = dict(sr_aux=dict(fa=None))
