_base_ = './configs/dsrl/deeplabv3plus_efficientnet_lite0_custom.py'
data_root = '/path/to/my_data'  # images/{train,val}/NAME.jpg, labels/{train,val}/NAME.png
classes = ('road', 'car', 'person')
canvas = (512, 1024)  # height and width of the masks, multiples of 32; the network reads half of each side
