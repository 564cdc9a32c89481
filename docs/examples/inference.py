import dsrl_mm.seg  # first: it registers the components
from mmseg.apis import inference_model, init_model, show_result_pyplot

config = 'configs/dsrl/dabnet_camvid_early.py'
checkpoint = 'weights/dabnet_camvid_early_sssr_sisr.pth'
model = init_model(config, checkpoint, device='cpu')
result = inference_model(model, 'street.png')
mask = result.pred_sem_seg.data  # (1, H, W), class ids
show_result_pyplot(model, 'street.png', result, show=False, out_file='mask.png')
