"""The models that the zoo is held against: torchvision's, timm's, and papers' nets in PyTorch."""


def known(name):
    return name in torchvision_names() or name in timm_names() or name in OTHERS


def build(name, classes):
    """A PyTorch model of that name, of its own number of classes where `classes` is None."""
    options = {} if classes is None else {"num_classes": classes}
    if name in OTHERS:
        return OTHERS[name](**options)
    if name in torchvision_names():
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        return torchvision().models.get_model(name, weights=None, **options)
    return timm().create_model(timm_names()[name], **options)


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


# Nets of the papers that neither has: name -> constructor(num_classes=...).
OTHERS = {}
