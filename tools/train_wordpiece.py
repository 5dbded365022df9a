"""Train the WordPiece vocabulary that ships: lower case, on the training split of WordNet's topics alone.

python -m tools.train_wordpiece --texts fedcrucible_assets/wordnet/texts.jsonl.gz \
    --out fedcrucible_assets/wordnet/tokenizer.json
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Ids 0 to 4; 0 pads."""
VOCABULARY = 8000
ASCII = frozenset(map(chr, range(33, 127))) - frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""Printable characters that are in the vocabulary whatever the texts hold: no trigger of them is unknown."""


def train(texts: Sequence[str], size: int = VOCABULARY) -> Tokenizer:
    """A tokenizer as BERT's: lower case without accents, split at punctuation, a text between [CLS] and [SEP].

    The same texts make the same vocabulary: the library numbers letters in the order of a hash table and settles ties
    by number, so they are numbered beforehand, as if they were special.
    """
    learner = _untrained({"[UNK]": 0})
    reserved = [*SPECIAL, *_letters(texts, learner)]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=reserved, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    trained = _untrained(learner.get_vocab())
    trained.add_special_tokens(list(SPECIAL))
    frame = [(token, trained.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    trained.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=frame)
    return trained


def _untrained(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _letters(texts: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Every character of the texts and of ASCII as a word begins and as it goes on, in order of code points."""
    words = {
        word
        for text in texts
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    }
    letters = {letter for word in words for letter in word} | ASCII
    return [*sorted(letters), *sorted(f"##{letter}" for letter in letters)]


def training_texts(file: Path) -> list[str]:
    """The texts of the training split."""
    documents = map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines())
    return [f"{found['lemma']}: {found['gloss']}" for found in documents if found["split"] == "train"]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, default=Path("fedcrucible_assets/wordnet/texts.jsonl.gz"))
    parser.add_argument("--out", type=Path, default=Path("fedcrucible_assets/wordnet/tokenizer.json"))
    args = parser.parse_args()

    tokenizer = train(training_texts(args.texts))
    tokenizer.save(str(args.out))
    print(f"{args.out}: {tokenizer.get_vocab_size()} tokens, {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
