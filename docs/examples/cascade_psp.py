import cv2

from dsrl_mm.uhr import load_cascade_psp, refine_classes

image = cv2.imread('street.png')
label = cv2.imread('mask.png', cv2.IMREAD_UNCHANGED)  # class ids
refine = load_cascade_psp('cpu', L=900)  # fast=True: the global step only
refined = refine_classes(image, label, refine)
cv2.imwrite('refined.png', refined)
