# DeepLabV3-R18 at half the width on a 360x480 canvas of CamVid, reading 180x240.
_base_ = './deeplabv3_r18_narrow_camvid.py'
model = dict(scale_factor=2)
