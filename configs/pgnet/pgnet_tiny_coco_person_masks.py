# A small PGNet on the persons of COCO, on 192x192. Trains from scratch on a CPU, in minutes.
_base_ = [
    '../_base_/models/pgnet_tiny.py',
    '../_base_/datasets/coco_person_masks.py',
    '../_base_/schedules/adamw_pgnet_300.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
