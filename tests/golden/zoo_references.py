"""The models that the zoo is held against: torchvision's, timm's, and papers' nets in PyTorch."""

from collections import OrderedDict
from functools import partial


def known(name):
    return name in torchvision_names() or name in timm_names() or name in OTHERS


def build(name, classes, **options):
    """A PyTorch model of that name, of its own number of classes where `classes` is None."""
    options |= {} if classes is None else {"num_classes": classes}
    if name in OTHERS:
        return OTHERS[name](**options)
    if name in torchvision_names():
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        return torchvision().models.get_model(name, weights=None, **options)
    return timm().create_model(timm_names()[name], **options)


def calm(model):
    """Turn off what is random in training: dropout and stochastic depth."""
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.p = 0.0
        if type(module).__name__ == "DropPath":
            module.drop_prob = 0.0


def torchvision():
    """torchvision, beside a PyTorch built without its operators."""
    import torch

    global library  # kept, or its operators vanish
    if "library" not in globals():
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    return torchvision


def timm():
    torchvision()
    import timm

    return timm


def torchvision_names():
    models = torchvision().models
    return set(models.list_models(module=models))


def timm_names():
    """Our name -> timm's."""
    return {f"efficientnet_lite{i}": f"tf_efficientnet_lite{i}" for i in range(5)}


def alexnet_2012(num_classes=1000):
    """Krizhevsky, Sutskever & Hinton (2012), with the names of Caffe's model."""
    from torch import nn

    def norm():  # PyTorch divides alpha by size, the paper does not
        return nn.LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2)

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, kernel_size=11, stride=4),
            relu1=nn.ReLU(),
            norm1=norm(),
            pool1=nn.MaxPool2d(kernel_size=3, stride=2),
            conv2=nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2),
            relu2=nn.ReLU(),
            norm2=norm(),
            pool2=nn.MaxPool2d(kernel_size=3, stride=2),
            conv3=nn.Conv2d(256, 384, kernel_size=3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(kernel_size=3, stride=2),
            flatten=nn.Flatten(),
            fc6=nn.Linear(256 * 6 * 6, 4096),
            relu6=nn.ReLU(),
            drop6=nn.Dropout(),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
            drop7=nn.Dropout(),
            fc8=nn.Linear(4096, num_classes),
        )
    )


def lenet(num_classes=10):
    """LeCun, Bottou, Bengio & Haffner (1998), as courses teach it: ReLU and max pooling."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )


def cifar_resnet(depth, num_classes=10):
    """He, Zhang, Ren & Sun (2016), Deep residual learning, section 4.2, with option A."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before, after):
            super().__init__()
            self.stride = 1 if before == after else 2
            self.conv1 = nn.Conv2d(before, after, 3, self.stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)

        def forward(self, x):
            residual = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (residual + option_a(x, self.stride, residual.shape[1])).relu()

    n = (depth - 2) // 6
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            relu=nn.ReLU(),
            layer1=nn.Sequential(*[Block(16, 16) for _ in range(n)]),
            layer2=nn.Sequential(*[Block(32 if i else 16, 32) for i in range(n)]),
            layer3=nn.Sequential(*[Block(64 if i else 32, 64) for i in range(n)]),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, num_classes),
        )
    )


def option_a(x, stride, channels):
    """The identity on every stride-th pixel; channels that are not there yet are zero."""
    import torch

    x = x[:, :, ::stride, ::stride]
    b, c, h, w = x.shape
    return torch.cat([x, x.new_zeros(b, channels - c, h, w)], dim=1)


def preact_resnet(depth, bottleneck, num_classes=10):
    """He, Zhang, Ren & Sun (2016), Identity mappings in deep residual networks, appendix."""
    from torch import nn

    class Unit(nn.Module):
        def __init__(self, before, after, stride, first):
            super().__init__()
            inner = after // 4 if bottleneck else after
            self.stride, self.first, self.after = stride, first, after
            self.bn1 = nn.BatchNorm2d(before)
            self.bn2 = nn.BatchNorm2d(inner)
            if bottleneck:
                self.conv1 = nn.Conv2d(before, inner, 1, stride, bias=False)
                self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
                self.bn3 = nn.BatchNorm2d(inner)
                self.conv3 = nn.Conv2d(inner, after, 1, bias=False)
                if first:
                    self.downsample = nn.Conv2d(before, after, 1, stride, bias=False)
            else:
                self.conv1 = nn.Conv2d(before, inner, 3, stride, padding=1, bias=False)
                self.conv2 = nn.Conv2d(inner, after, 3, padding=1, bias=False)

        def forward(self, x):
            activated = self.bn1(x).relu()
            path = self.conv2(self.bn2(self.conv1(activated)).relu())
            if bottleneck:
                path = self.conv3(self.bn3(path).relu())
            if not self.first:
                return x + path
            if bottleneck:
                return self.downsample(activated) + path
            return option_a(activated, self.stride, self.after) + path

    n = (depth - 2) // (9 if bottleneck else 6)
    widths = [16, 64, 128, 256] if bottleneck else [16, 16, 32, 64]

    def stage(i):
        before, after, stride = widths[i - 1], widths[i], 1 if i == 1 else 2
        units = [Unit(after, after, 1, False) for _ in range(n - 1)]
        return nn.Sequential(Unit(before, after, stride, True), *units)

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            layer1=stage(1),
            layer2=stage(2),
            layer3=stage(3),
            bn=nn.BatchNorm2d(widths[3]),
            relu=nn.ReLU(),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(widths[3], num_classes),
        )
    )


def wrn(depth, width, num_classes=10):
    """Zagoruyko & Komodakis (2016), Wide residual networks, table 1, basic blocks B(3, 3)."""
    from torch import nn

    def stage(before, after, stride):
        units = [(before, after, stride)] + [(after, after, 1)] * ((depth - 4) // 6 - 1)
        return nn.Sequential(OrderedDict(layer=nn.Sequential(*[Unit(*unit) for unit in units])))

    class Unit(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.bn1 = nn.BatchNorm2d(before)
            self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
            if before != after:
                self.convShortcut = nn.Conv2d(before, after, 1, stride, bias=False)

        def forward(self, x):
            activated = self.bn1(x).relu()
            path = self.conv2(self.bn2(self.conv1(activated)).relu())
            projected = hasattr(self, "convShortcut")
            return (self.convShortcut(activated) if projected else x) + path

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            block1=stage(16, 16 * width, 1),
            block2=stage(16 * width, 32 * width, 2),
            block3=stage(32 * width, 64 * width, 2),
            bn1=nn.BatchNorm2d(64 * width),
            relu=nn.ReLU(),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64 * width, num_classes),
        )
    )


def densenet_bc(depth, growth, num_classes=10):
    """Huang et al. (2017), Densely connected convolutional networks, section 3, for CIFAR."""
    import torch
    from torch import nn

    def activated(channels, *convolution, **options):
        """BN, ReLU, Conv as three names."""
        return nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, *convolution, **options)

    class Concatenated(nn.Sequential):
        def forward(self, x):
            return torch.cat([x, super().forward(x)], dim=1)

    features = OrderedDict(conv0=nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False))
    channels = 2 * growth
    for i in (1, 2, 3):
        layers = OrderedDict()
        for j in range((depth - 4) // 6):
            parts = [
                *activated(channels, 4 * growth, 1, bias=False),
                *activated(4 * growth, growth, 3, padding=1, bias=False),
            ]
            names = ("norm1", "relu1", "conv1", "norm2", "relu2", "conv2")
            layer = OrderedDict(zip(names, parts, strict=True))
            layers[f"denselayer{j + 1}"] = Concatenated(layer)
            channels += growth
        features[f"denseblock{i}"] = nn.Sequential(layers)
        if i < 3:
            parts = *activated(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)
            names = ("norm", "relu", "conv", "pool")
            features[f"transition{i}"] = nn.Sequential(OrderedDict(zip(names, parts, strict=True)))
            channels //= 2
    features["norm4"] = nn.BatchNorm2d(channels)
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(features),
            relu=nn.ReLU(),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(channels, num_classes),
        )
    )


# Nets of the papers that neither has: name -> constructor(num_classes=...).
OTHERS = {
    "alexnet_2012": alexnet_2012,
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in (20, 32, 44, 56, 110)},
    "preact_resnet110": partial(preact_resnet, 110, False),
    "preact_resnet164": partial(preact_resnet, 164, True),
    "wrn_16_4": partial(wrn, 16, 4),
    "wrn_28_10": partial(wrn, 28, 10),
    "wrn_40_4": partial(wrn, 40, 4),
    "densenet_bc_100_12": partial(densenet_bc, 100, 12),
}
