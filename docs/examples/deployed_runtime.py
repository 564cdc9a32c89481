import numpy as np

from dsrl_mm.apis import load_runtime

runtime = load_runtime('deployed/deploy.onnx')
print(runtime.meta['classes'], runtime.meta['size'])
mask = runtime(np.zeros((1, 180, 240, 3), np.uint8))  # (1, 360, 480), class ids
