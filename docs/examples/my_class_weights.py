_base_ = './my_data.py'
sampler = dict(type='ClassWeightSampler', weights=(0.6, 1.4, 2.3))  # one weight per class
model = dict(decode_head=dict(decode_head=dict(sampler=sampler)))
