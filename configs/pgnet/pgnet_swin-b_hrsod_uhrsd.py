# PGNet with ResNet-18 and Swin-B on HRSOD and UHRSD. HRSOD is seen five times in an epoch, as by the authors.
_base_ = './pgnet_swin-b_duts.py'
train_dataloader = dict(dataset=dict(roots=['HRSOD-TR', 'UHRSD-TR'], repeats=[5, 1]))
