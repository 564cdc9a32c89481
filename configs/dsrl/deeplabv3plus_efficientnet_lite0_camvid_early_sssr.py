# The row "+ SSSR" of deeplabv3plus_efficientnet_lite0_camvid_early.py: nothing exists only while training.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid_early.py'
model = dict(sr_aux=None)
