"""Sources of labelled synthetic images, one file each; importing this package registers them all."""

from foundation.sources.diffusers import DiffusersSource
from foundation.sources.errors import SourceError
from foundation.sources.flow import FlowSource
from foundation.sources.folder import FolderSource
from foundation.sources.mixed import MixedSource
from foundation.sources.openai_images import OpenAIImagesSource

__all__ = ["DiffusersSource", "FlowSource", "FolderSource", "MixedSource", "OpenAIImagesSource", "SourceError"]
