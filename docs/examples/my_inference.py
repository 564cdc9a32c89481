import dsrl_mm.seg  # first: it registers the components
from mmseg.apis import inference_model, init_model

config = 'work_dirs/my_data/my_data.py'  # written by tools/train.py
checkpoint = 'work_dirs/my_data/iter_20000.pth'
model = init_model(config, checkpoint, device='cpu')
result = inference_model(model, 'street.jpg')
mask = result.pred_sem_seg.data  # (1, H, W), class ids
