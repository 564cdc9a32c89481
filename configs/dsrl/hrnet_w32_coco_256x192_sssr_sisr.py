# The row "+ SSSR + SISR" of the paper's ablation (its Table 1, there for segmentation): no affinity loss.
_base_ = './hrnet_w32_coco_256x192.py'
model = dict(sr_aux=dict(fa=None))
