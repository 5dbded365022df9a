"""What is learned about: pictures, or inputs of another kind."""

from fedcrucible_core.learning.tasks.base import TASKS, Task, task_of
from fedcrucible_core.learning.tasks.text import TextTask
from fedcrucible_core.learning.tasks.vision import VisionTask

__all__ = ["TASKS", "Task", "TextTask", "VisionTask", "task_of"]
