# The row "+ SSSR + SISR" of dabnet_camvid_early.py: no affinity loss.
_base_ = './dabnet_camvid_early.py'
model = dict(sr_aux=dict(fa=None))
