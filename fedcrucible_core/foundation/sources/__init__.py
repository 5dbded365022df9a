"""Sources of labelled synthetic images, one file each; importing this package registers them all."""

from fedcrucible_core.foundation.base import SourceError
from fedcrucible_core.foundation.sources.diffusers import DiffusersSource
from fedcrucible_core.foundation.sources.flow import FlowSource
from fedcrucible_core.foundation.sources.folder import FolderSource
from fedcrucible_core.foundation.sources.mixed import MixedSource
from fedcrucible_core.foundation.sources.openai_images import OpenAIImagesSource

__all__ = ["DiffusersSource", "FlowSource", "FolderSource", "MixedSource", "OpenAIImagesSource", "SourceError"]
