# For runs of a few hundred iterations: counts in iterations, logs and saves more often.
_base_ = './pose_runtime.py'
log_processor = dict(by_epoch=False)
default_hooks = dict(logger=dict(interval=20, log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=100))
