"""Class names in label order, worded so that they read well in prompts ("a photo of a {name}")."""

from __future__ import annotations

FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = tuple(f"handwritten digit {word}" for word in _DIGIT_WORDS)
HOUSE_NUMBERS = tuple(f"house number digit {word}" for word in _DIGIT_WORDS)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = (
    "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple tree", "motorcycle", "mountain", "mouse", "mushroom", "oak tree", "orange", "orchid",
    "otter", "palm tree", "pear", "pickup truck", "pine tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree", "wolf",
    "woman", "worm",
)  # fmt: skip
TRAFFIC_SIGNS = (
    "speed limit 20 sign", "speed limit 30 sign", "speed limit 50 sign", "speed limit 60 sign", "speed limit 70 sign",
    "speed limit 80 sign", "end of speed limit 80 sign", "speed limit 100 sign", "speed limit 120 sign",
    "no passing sign", "no passing for trucks sign", "right-of-way at next intersection sign", "priority road sign",
    "yield sign", "stop sign", "no vehicles sign", "no trucks sign", "no entry sign", "general caution sign",
    "dangerous left curve sign", "dangerous right curve sign", "double curve sign", "bumpy road sign",
    "slippery road sign", "road narrows on the right sign", "road work sign", "traffic signals sign",
    "pedestrians sign", "children crossing sign", "bicycles crossing sign", "ice and snow sign",
    "wild animals crossing sign", "end of all limits sign", "turn right ahead sign", "turn left ahead sign",
    "ahead only sign", "go straight or right sign", "go straight or left sign", "keep right sign", "keep left sign",
    "roundabout sign", "end of no passing sign", "end of no passing for trucks sign",
)  # fmt: skip
