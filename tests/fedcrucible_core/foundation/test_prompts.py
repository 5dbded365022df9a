from __future__ import annotations

import string

import torch

from fedcrucible_core.foundation.prompts import OBSTACLES, TEMPLATES, expand, expand_prompts, readable


def draws(names, seed: int = 0):
    return expand_prompts(names, torch.Generator().manual_seed(seed))


def test_every_template_names_the_class_and_every_aspect_of_the_paper_is_there() -> None:
    assert {"size", "occlusion", "background", "viewpoint", "lighting", "style"} <= set(TEMPLATES)
    for templates in TEMPLATES.values():
        for template in templates:
            fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
            assert "c" in fields
            assert fields <= {"a", "c", "obstacle"}
            assert "photo" in template


def test_same_seed_same_prompts_and_each_image_its_own() -> None:
    names = ["cat", "airplane"] * 200
    prompts = draws(names)
    assert prompts == draws(names)
    assert prompts != draws(names, seed=1)
    assert all(name in prompt for name, prompt in zip(names, prompts, strict=True))
    assert not any("{" in prompt for prompt in prompts)
    assert len(set(prompts)) > 30
    assert any(obstacle in prompt for prompt in prompts for obstacle in OBSTACLES)


def test_a_prompt_does_not_depend_on_later_ones() -> None:
    assert draws(["cat"] * 5) == draws(["cat"] * 50)[:5]


def test_articles_and_awkward_names() -> None:
    assert expand("airplane", (0.0, 0.0, 0.0)) == "a photo of an airplane"
    assert expand("Trouser", (0.0, 0.0, 0.0)) == "a photo of a Trouser"
    assert readable("T-shirt/top") == "T-shirt or top"
    assert readable("maple_tree") == "maple tree"


def test_extreme_draws_stay_inside() -> None:
    assert expand("cat", (0.999999, 0.999999, 0.999999))
