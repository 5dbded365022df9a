"""AG-NEWS, from the Hugging Face hub."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedcrucible_core.config.citation import Paper
from fedcrucible_core.learning.datasets.base import DATASETS
from fedcrucible_core.learning.datasets.hub import HuggingFace


@DATASETS.register("ag-news")
class AgNews(HuggingFace):
    """120,000 training and 7,600 test news items in 4 classes: World, Sports, Business, Sci/Tech.

    ``fedcrucible prepare ag-news`` fetches ``fancyzhx/ag_news`` once; ``task.train_samples`` takes a balanced part.
    Its own tokenizer is DistilBERT's; ``task.tokenizer=wordnet`` needs no hub.
    """

    paper: ClassVar[Paper] = ("zhang2015character", "section 4; the copy fancyzhx/ag_news")
    choices = ("text-lengths", "reserved-tokens")
    after_colon: ClassVar[str] = ""
    tokenizer: ClassVar[str] = "distilbert/distilbert-base-uncased"
    repo: str = Field("fancyzhx/ag_news", description="Hub name of the data set")

    @property
    def full_name(self) -> str:
        """The name in ``task.dataset``."""
        return self.name
