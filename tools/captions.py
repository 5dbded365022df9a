"""Captions for the tiny CLIP, and the word-level tokenizer made from them.

A caption is a template with a class's name (or now and then a common other name for it) put in. Some template words are
replaced by the unknown word, so that the text tower learns to pass over words it has never seen.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tools.fashion_idx import CLASS_NAMES

PAD, BOS, EOS, UNK = "<pad>", "<|startoftext|>", "<|endoftext|>", "<unk>"
MAX_LENGTH = 24

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "t-shirt": ("tshirt", "t shirt", "tee", "t-shirt or top"),
    "trouser": ("trousers", "pants", "pair of trousers"),
    "pullover": ("sweater", "jumper"),
    "dress": ("gown", "frock"),
    "coat": ("jacket", "overcoat"),
    "sandal": ("sandals", "open shoe"),
    "shirt": ("buttoned shirt", "blouse"),
    "sneaker": ("sneakers", "trainer", "running shoe"),
    "bag": ("handbag", "purse"),
    "ankle boot": ("boot", "ankle boots", "high shoe"),
}

TEMPLATES: tuple[str, ...] = (
    "{}",
    "a {}",
    "the {}",
    "one {}",
    "this is a {}",
    "there is a {} in the picture",
    "a photo of a {}",
    "a photo of the {}",
    "a photo of one {}",
    "a picture of a {}",
    "an image of a {}",
    "a drawing of a {}",
    "a sketch of a {}",
    "a rendering of a {}",
    "a photograph of a {}",
    "a photo of a {}, a type of clothing",
    "a photo of a {}, a piece of fashion",
    "a photo of a small {}",
    "a photo of a large {}",
    "a photo of a clean {}",
    "a photo of a dirty {}",
    "a photo of a new {}",
    "a photo of an old {}",
    "a photo of a nice {}",
    "a photo of a cool {}",
    "a photo of a weird {}",
    "a good photo of a {}",
    "a bad photo of a {}",
    "a blurry photo of a {}",
    "a pixelated photo of a {}",
    "a low resolution photo of a {}",
    "a low contrast photo of a {}",
    "a high contrast photo of a {}",
    "a bright photo of a {}",
    "a dark photo of a {}",
    "a cropped photo of a {}",
    "a close-up photo of a {}",
    "a black and white photo of a {}",
    "a grayscale photo of a {}",
    "a grayscale image of a {}",
    "a gray {} on a black background",
    "a {} on a plain background",
    "a {} on a white background",
    "a {} under a cloudy sky",
    "a {} in bright light",
    "a {} in the snow",
    "a {} in the rain",
    "a {} in the dark",
    "a {} in a shop",
    "a {} on a table",
    "a {} seen from the side",
    "a {} seen from the front",
    "a {} seen from above",
    "a {} partially behind a box",
    "a {} partially behind a tree",
    "a {} partially hidden by a person",
    "a product photo of a {}",
    "a catalogue photo of a {}",
    "a {} for sale",
    "a {} from an online shop",
    "a small {}",
    "a large {}",
    "itap of a {}",
    "a photo of my {}",
)


def _tokenize_words(text: str) -> list[str]:
    return [word for word in text.replace(",", " , ").split() if word]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level tokenizer over the words of all captions; anything else becomes the unknown word."""
    words = {w for t in TEMPLATES for w in _tokenize_words(t.replace("{}", " "))}
    for name in CLASS_NAMES:
        words |= {w for n in (name, *OTHER_NAMES[name]) for w in _tokenize_words(n)}
    vocabulary = {w: i for i, w in enumerate([PAD, UNK, ".", *sorted(words), BOS, EOS])}
    backend = Tokenizer(WordLevel(vocabulary, unk_token=UNK))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"<unk>|[\w'\-]+|[^\w\s]"), behavior="removed", invert=True)
    ends = [(BOS, vocabulary[BOS]), (EOS, vocabulary[EOS])]
    backend.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def captions_for(label: int, count: int, rng: np.random.Generator, other_names: float, unknown: float) -> list[str]:
    """Draw ``count`` captions of one class.

    Args:
        other_names: probability of using another common name instead of the class's own.
        unknown: probability, per word of the template, of the unknown word in its place.
    """
    captions = []
    for _ in range(count):
        name = CLASS_NAMES[label]
        if rng.random() < other_names:
            name = str(rng.choice(OTHER_NAMES[name]))
        words = _tokenize_words(TEMPLATES[int(rng.integers(len(TEMPLATES)))])
        words = [UNK if word != "{}" and rng.random() < unknown else word for word in words]
        captions.append(" ".join(words).replace("{}", name))
    return captions
