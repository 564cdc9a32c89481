"""Explanation of a layer's size errors in terms of the config."""

import re
from collections.abc import Sequence

#: Messages of PyTorch's pooling, convolution, padding, resizing and instance norm for feature maps that are too small.
_TOO_SMALL = re.compile(
    "Output size is too small|Kernel size can't be greater|Padding size should be less|sizes should be greater than 0|"
    'more than 1 spatial element'
)
#: Message of networks that take multiples of a size only, such as MMSegmentation's UNet.
_MULTIPLE = re.compile(r'should be divisible by \D*(\d+)')
#: Message of batch norm for one image whose feature map is a single pixel.
_ONE_VALUE = 'more than 1 value per channel'


def explain_size_error(error: Exception, image_size: Sequence[int], scale_factor: int) -> str | None:
    """Explain a layer's error that is caused by the size of the images or of the batch; returns None for other errors.

    ``image_size`` is H and W of the segmentor's input in pixels, ``scale_factor`` the segmentor's.
    """
    size = 'x'.join(str(side) for side in image_size)
    if _ONE_VALUE in str(error):
        return (
            f'A batch of one image of {size} pixels leaves a normalization layer one value per channel, and it cannot '
            'train on that (PSPHead and the ASPP heads, for example, pool an image to one pixel). Set '
            'train_dataloader.batch_size to at least 2 per process, and drop_last=True if the last batch of an epoch '
            'can be smaller; or use SyncBN over several processes; or another norm, such as '
            "norm_cfg=dict(type='GN', num_groups=...)."
        )
    read = 'x'.join(str(-(-side // scale_factor)) for side in image_size)
    if multiple := _MULTIPLE.search(str(error)):
        return (
            f'This network reads {read} of images of {size} pixels (scale_factor={scale_factor}), and takes only sides '
            f'that are multiples of {multiple[1]}: sides of images must be multiples of '
            f'{scale_factor * int(multiple[1])}. Crop or resize to such a size in the pipelines, or pad to it with '
            'model.data_preprocessor.size, and for validation and tests with its test_cfg.size.'
        )
    if _TOO_SMALL.search(str(error)):
        return (
            f'Images of {size} pixels are too small for this network, which reads {read} of them (scale_factor='
            f'{scale_factor}). A layer says: {error}. Use larger images (the sizes in the pipelines; with sliding '
            'windows, test_cfg.crop_size), a smaller scale_factor, or a network that reduces its input less.'
        )
    return None
