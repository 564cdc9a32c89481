import torch

program = torch.export.load('deployed/deploy.pt2').module()
image = torch.rand(1, 3, 180, 240)  # RGB, normalized with the mean and std of model.data_preprocessor
mask = program(image).argmax(1)  # (1, 360, 480), class ids
