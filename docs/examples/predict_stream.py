from pathlib import Path

from dsrl_mm.apis import Inferencer

inferencer = Inferencer('dabnet_camvid_early', device='cpu', batch_size=4)
files = sorted(Path('frames').glob('*.png'))
road = inferencer.meta['classes'].index('Road')
# A generator: four images are kept at a time, however many there are.
shares = [(prediction.mask == road).mean() for prediction in inferencer.stream(files)]
