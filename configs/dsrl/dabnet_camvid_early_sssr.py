# The row "+ SSSR" of dabnet_camvid_early.py: nothing exists only while training.
_base_ = './dabnet_camvid_early.py'
model = dict(sr_aux=None)
