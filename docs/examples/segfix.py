import cv2
import numpy as np
import torch

from dsrl_mm.uhr import apply_segfix_offsets

label = torch.from_numpy(cv2.imread('mask.png', cv2.IMREAD_UNCHANGED))  # class ids
offsets = torch.from_numpy(np.load('offsets.npy'))  # (2, H, W): rows and columns to move by
boundary = torch.from_numpy(cv2.imread('boundary.png', cv2.IMREAD_UNCHANGED)) > 127
refined = apply_segfix_offsets(label, offsets, boundary)
cv2.imwrite('refined.png', refined.numpy())
