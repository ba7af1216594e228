"""resnet.safetensors: ResNet-101, both stride variants, two inputs, every stage (parity row 2)."""
import numpy as np
import torch
import torchvision
from philox import INPUTS, Golden, fill, versions, weight


def network(caffe):
    net = torchvision.models.resnet101(weights=None).eval()
    if caffe:
        net.maxpool = torch.nn.MaxPool2d(3, 2, 0, ceil_mode=True)
        for layer in (net.layer2, net.layer3, net.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    state = {k: torch.from_numpy(weight(k, v.shape)) for k, v in net.state_dict().items() if v.dtype == torch.float32}
    net.load_state_dict(state, strict=False)
    return net


g = Golden(what="torchvision resnet101, weights of philox.weight", **versions())
for style in ("v1.5", "caffe"):
    net = network(style == "caffe")
    for n, side in ((2, 64), (1, 512)):
        x = torch.from_numpy(fill((n, 3, side, side), INPUTS, "image%d" % side, 2.0))
        key = "%s.%d." % (style, side)
        with torch.no_grad():
            x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
            g.tap(key + "stem", x)
            for i, layer in enumerate((net.layer1, net.layer2, net.layer3, net.layer4)):
                x = layer(x)
                g.tap(key + "layer%d" % (i + 1), x)
            if side == 512:
                g.tap(key + "grid", torch.nn.functional.adaptive_avg_pool2d(x, 14))
            g.tap(key + "pooled", x.mean((2, 3)))
        print(style, side, float(np.abs(x.numpy()).max()))
g.save("resnet.safetensors")
