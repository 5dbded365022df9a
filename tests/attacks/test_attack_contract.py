"""Every registered poisoner and upload attack keeps its contract, unasked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.adversary import ATTACKS
from attacks.contracts import check_poisoner, check_uploader, poisoner_checks, uploader_checks
from attacks.poisoner import POISONERS, Poisoner
from attacks.poisoners.badnets import BadNets
from attacks.uploader import UPLOADERS, CraftContext, PlainUpload, Uploader
from attacks.view import AttackView, Upload
from fedcrucible_core.learning.training import TrainingHook
from tests.support.attack_view_fake import fake_view
from tests.support.quick_attacks import QUICK
from tests.support.tiny_task import context, labelled, make_task, measured_on

EXEMPT: dict[tuple[str, str], str] = {}
"""(name, check) -> why it can't be kept."""


def cases(names: list[str], checks: list[str]) -> list[object]:
    return [
        pytest.param(
            name,
            check,
            marks=pytest.mark.xfail(strict=True, reason=EXEMPT[name, check]) if (name, check) in EXEMPT else (),
        )
        for name in names
        for check in checks
    ]


@pytest.mark.parametrize(("name", "check"), cases(list(POISONERS), [name for name, _ in poisoner_checks()]))
def test_poisoner(name: str, check: str) -> None:
    dict(poisoner_checks())[check](POISONERS.create(name, QUICK.get(name, {})))


@pytest.mark.parametrize(("name", "check"), cases([*UPLOADERS, "plain"], [name for name, _ in uploader_checks()]))
def test_uploader(name: str, check: str) -> None:
    uploader = PlainUpload() if name == "plain" else UPLOADERS.create(name)
    poisoner = POISONERS.create("badnets" if uploader.plants else "none")
    dict(uploader_checks())[check](uploader, poisoner)


@pytest.mark.parametrize("trigger", ["edge-case", "wanet", "sig", "none"])
@pytest.mark.parametrize("name", ["pgd", "neurotoxin", "afa"])
def test_an_upload_attack_works_with_any_poisoner(name: str, trigger: str) -> None:
    check_uploader(UPLOADERS.create(name), POISONERS.create(trigger))


@pytest.mark.parametrize("name", list(UPLOADERS))
def test_without_a_hook_of_its_own_an_attack_has_none(name: str) -> None:
    uploader = UPLOADERS.create(name)
    hook = uploader.hook(fake_view(torch.nn.Linear(2, 2), labelled(8)))
    assert isinstance(hook, TrainingHook) if type(uploader).hook is not Uploader.hook else hook is None


@pytest.mark.parametrize("name", list(ATTACKS))
def test_documentation_is_there(name: str) -> None:
    cls = ATTACKS[name]
    assert cls.__doc__
    assert name == "none" or cls.paper
    for key, field in cls.model_fields.items():
        assert field.description, f"{name}.{key} needs a description"


@pytest.mark.parametrize("name", [name for name in POISONERS if not POISONERS.create(name).targeted])
def test_no_success_is_measured_without_a_target(name: str) -> None:
    data = labelled(12)
    with pytest.raises(TypeError, match=f"'{name}' is untargeted"):
        measured_on(POISONERS.create(name), data, make_task(data, 3))


@pytest.mark.parametrize("name", [name for name in POISONERS if not POISONERS.create(name).decoy_count(10, 100)])
def test_without_decoys_none_are_made(name: str) -> None:
    x = labelled(4).for_model()
    with pytest.raises(TypeError, match="has no decoys"):
        POISONERS.create(name).decoys(x, x, context())


class InPlace(BadNets):
    """Writes into its inputs."""

    def stamp(self, x, y, ctx):
        x[:, :, -1, -1] = 1.0
        return x.clone()


class Company(BadNets):
    """Stamps with the batch's mean."""

    def stamp(self, x, y, ctx):
        made = x.clone()
        made[:, :, -1, -1] = x.mean()
        return made

    def mask(self, shape: tuple[int, ...]) -> Tensor | None:  # type: ignore[override]
        return None


class TooBright(BadNets):
    """Leaves the range."""

    def stamp(self, x, y, ctx):
        return x + 0.5


class GlobalChance(BadNets):
    """Draws from the global generator."""

    def stamp(self, x, y, ctx):
        return torch.rand_like(x)


class BrokenPromise(BadNets):
    """Says that labels stay."""

    clean_label = True

    def relabel(self, y, ctx):
        return torch.full_like(y, ctx.task.target)


class NoClass(BadNets):
    """Invents a label."""

    def relabel(self, y, ctx):
        return y + 100


@pytest.mark.parametrize(
    ("poisoner", "sentence"),
    [
        (InPlace(), "stamp changes its inputs"),
        (Company(), "depends on the other images"),
        (TooBright(), r"leaves the range \[0, 1\]"),
        (GlobalChance(), "differs for the same generator"),
        (BrokenPromise(), "clean_label is promised"),
        (NoClass(), "no class"),
    ],
)
def test_a_poisoner_that_breaks_its_contract_is_told(poisoner: Poisoner, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_poisoner(poisoner)


class Infinite(Uploader):
    """Uploads infinity."""

    def craft(self, w_global, w_benign, w_malicious, ctx):
        return w_malicious / 0.0


class Chance(Uploader):
    """Draws anew."""

    def craft(self, w_global, w_benign, w_malicious, ctx: CraftContext):
        return w_malicious + torch.rand(w_malicious.shape)


class Overwrites(Uploader):
    """Changes the model that it received."""

    def craft(self, w_global, w_benign, w_malicious, ctx):
        return w_global.add_(1.0)


class Claims(Uploader):
    """Claims a million examples."""

    def upload(self, view: AttackView) -> Upload:
        made = super().upload(view)
        return Upload(made.weights, 10**6, made.loss)


@pytest.mark.parametrize(
    ("uploader", "sentence"),
    [
        (Infinite(), "not finite"),
        (Chance(), "differs for the same generator"),
        (Overwrites(), "changes its inputs"),
        (Claims(), "claims 1000000 examples"),
    ],
)
def test_an_upload_attack_that_breaks_its_contract_is_told(uploader: Uploader, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_uploader(uploader)


def test_the_contract_needs_no_test_runner() -> None:
    import attacks.contracts as module

    assert "pytest" not in vars(module)
    check_poisoner(BadNets())
