import dsrl_mm.seg  # first: it registers the components
from mmseg.apis import inference_model, init_model

model = init_model('deployed/deploy.py', 'deployed/deploy.pth', device='cpu')
mask = inference_model(model, 'frame_180x240.png').pred_sem_seg.data  # (1, 360, 480), class ids
