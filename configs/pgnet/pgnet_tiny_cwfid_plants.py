# A small PGNet on the plants of CWFID, on 192x256. Trains from scratch on a CPU, in minutes.
_base_ = [
    '../_base_/models/pgnet_tiny.py',
    '../_base_/datasets/cwfid_plants.py',
    '../_base_/schedules/adamw_pgnet_300.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(data_preprocessor=dict(sizes=[(176, 232), (192, 256), (208, 280)]))
