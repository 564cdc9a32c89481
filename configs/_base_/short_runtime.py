# For runs of a few thousand iterations: logs and saves more often.
_base_ = './default_runtime.py'
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=455))
