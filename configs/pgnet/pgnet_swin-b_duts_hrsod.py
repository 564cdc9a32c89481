# PGNet with ResNet-18 and Swin-B on DUTS and HRSOD. HRSOD is seen five times in an epoch, as by the authors.
_base_ = './pgnet_swin-b_duts.py'
train_dataloader = dict(dataset=dict(roots=['DUTS-TR', 'HRSOD-TR'], repeats=[1, 5]))
