# The row "+ SSSR" of the paper's ablation (its Table 1, there for segmentation): nothing exists only while training.
_base_ = './hrnet_w32_coco_256x192.py'
model = dict(sr_aux=None)
