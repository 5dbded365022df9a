"""Models by name; each splits into a feature extractor and a classifier."""

from fedcrucible_core.learning.models.base import MODELS, ModelSpec, SplitModel
from fedcrucible_core.learning.models.cnn import SmallCNN
from fedcrucible_core.learning.models.distilbert import DistilBert, TinyDistilBert
from fedcrucible_core.learning.models.libraries import Timm, Torchvision
from fedcrucible_core.learning.models.logistic import Logistic
from fedcrucible_core.learning.models.mobilenet import MobileNetV2
from fedcrucible_core.learning.models.preact_resnet import PreActResNet18
from fedcrucible_core.learning.models.resnet import ResNet8, ResNet18
from fedcrucible_core.learning.models.vgg import VGG16

__all__ = [
    "MODELS",
    "VGG16",
    "DistilBert",
    "Logistic",
    "MobileNetV2",
    "ModelSpec",
    "PreActResNet18",
    "ResNet8",
    "ResNet18",
    "SmallCNN",
    "SplitModel",
    "Timm",
    "TinyDistilBert",
    "Torchvision",
]
