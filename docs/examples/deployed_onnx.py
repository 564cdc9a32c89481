import json

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession('deployed/deploy.onnx')
image = np.array(Image.open('frame_180x240.png').convert('RGB'))
(mask,) = session.run(None, {'images': image[None]})  # (1, 360, 480), class ids
meta = json.loads(session.get_modelmeta().custom_metadata_map['dsrl_mm'])
colors = np.array(meta['palette'], np.uint8)[mask[0]]  # (360, 480, 3)
