import cv2
from dsrl_mm.apis import Inferencer

inferencer = Inferencer('dabnet_camvid_early', device='cpu')  # of the model zoo; or Inferencer(CONFIG, CHECKPOINT)
prediction = inferencer('street.png')
mask = prediction.mask  # (H, W), class ids
names = [inferencer.meta['classes'][i] for i in set(mask.flat)]
cv2.imwrite('overlay.png', inferencer.draw('street.png', prediction, opacity=0.5))
