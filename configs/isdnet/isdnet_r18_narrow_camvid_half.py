# ISDNet-R18 at half the width on a 360x480 canvas of CamVid; its deep network reads a half of each side.
_base_ = './isdnet_r18_narrow_camvid.py'
# The deep features are at 1/16 of the canvas.
model = dict(scale_factor=2, sr_aux=dict(sr=dict(factors=(2, 2, 2))))
