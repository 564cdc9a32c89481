# Table 1 of the paper, "+ SSSR": without anything that exists only while training.
_base_ = './pspnet_r18_camvid.py'
model = dict(sr_aux=None)
