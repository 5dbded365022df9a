"""What every repair promises."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from defenses.base import Repair, RepairContext, Split, Suspects
from defenses.contracts.promises import Promise, check_all, require, unchanged
from defenses.contracts.purifiers import require_finite_facts, require_finite_model, require_left_alone
from defenses.contracts.server_setting import (
    CLASSES,
    INFO,
    SERVER_IMAGES,
    make_data,
    make_guide,
    make_model,
    same,
    snapshot,
)
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.foundation.base import ServerData
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models.base import SplitModel

CPU = torch.device("cpu")
CLIENTS = 5


def check_repair(repair: Repair, *, exempt: Collection[str] = ()) -> None:
    """Check all promises of :data:`REPAIR_PROMISES` on a tiny model, with whatever the repair says that it needs.

    Raises:
        AssertionError: names the promise and what was found.
        ValueError: ``exempt`` names no promise.
    """
    check_all(repair, REPAIR_PROMISES, exempt)


def context(repair: Repair, model: SplitModel, answers: Tensor | None, seed: int = 5) -> RepairContext:
    """What a run would hand to the repair: the parts that it asks for, the others None."""
    needs, data = repair.needs, make_data()
    guided = needs.guide and not needs.suspects
    wanted = needs.server_images or guided
    return RepairContext(
        info=INFO,
        rng=torch.Generator().manual_seed(seed),
        device=CPU,
        answers=answers,
        data=data if wanted else None,
        accuracy=(lambda: _accuracy(model, data)) if wanted else None,
        guide=make_guide(data) if guided else None,
        suspects=make_suspects(split=needs.split, guided=needs.guide) if needs.suspects else None,
        clean=make_data(seed=2).originals if needs.clean is not None else None,
        untrained=make_model,
        training=TrainingSection(batch_size=8),
    )


def make_suspects(n: int = SERVER_IMAGES, *, split: bool = True, guided: bool = True) -> Suspects:
    """Images of which every fifth has a wrong label; split by that, every seventh of the others mixed."""
    data = make_data(n, augmented=False)
    labels = data.originals.labels.clone()
    wrong = torch.arange(n) % 5 == 0
    labels[wrong] = (labels[wrong] + 1) % CLASSES
    mixed = ~wrong & (torch.arange(n) % 7 == 0)
    scores = {"s_guide": wrong.to(torch.float64)}
    parts = Split.by(~wrong & ~mixed, wrong, scores) if split else None
    return Suspects(Labeled(data.originals.inputs, labels), parts, make_guide(data) if guided else None)


def answers_of(repair: Repair, model: SplitModel, clients: int = CLIENTS) -> Tensor | None:
    """Valid answers int64 ``[clients, channels]`` to the repair's survey; None where it asks nothing."""
    if repair.needs.survey is None:
        return None
    survey, rng = repair.needs.survey(model, INFO), torch.Generator().manual_seed(1)
    return torch.stack([survey.answer(torch.rand(survey.channels, generator=rng)) for _ in range(clients)])


def _accuracy(model: SplitModel, data: ServerData) -> float:
    with torch.no_grad():
        right = model(data.originals.inputs).argmax(1) == data.originals.labels
    return 100.0 * float(right.double().mean())


def _repaired(repair: Repair, answers: Tensor | None) -> tuple[SplitModel, dict[str, float]]:
    model = make_model()
    return model, repair.repair(model, context(repair, model, answers))


# --- the promises -----------------------------------------------------------------------------------------------------


def _finite(repair: Repair) -> None:
    names = {name: (t.shape, t.dtype) for name, t in make_model().state_dict().items()}
    for clients in (1, 2, 3, CLIENTS):
        model, facts = _repaired(repair, answers_of(repair, make_model(), clients))
        require_finite_model(model)
        require_finite_facts(facts)
        after = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
        require(after == names, "parameters or buffers have other names, shapes or types than before")


def _deterministic(repair: Repair) -> None:
    before, answers = torch.get_rng_state(), answers_of(repair, make_model())
    (first, facts), (second, others) = _repaired(repair, answers), _repaired(repair, answers)
    require(same(snapshot(first), snapshot(second)), "the same seed gave another model")
    require(facts == others, f"the same seed gave other facts: {facts}, {others}")
    require(torch.equal(before, torch.get_rng_state()), "it drew from the global generator")


def _order(repair: Repair) -> None:
    answers = answers_of(repair, make_model())
    if answers is None:
        return
    (first, _), (second, _) = _repaired(repair, answers), _repaired(repair, answers.flip(0))
    for name, tensor in snapshot(first).items():
        torch.testing.assert_close(snapshot(second)[name], tensor, rtol=1e-5, atol=1e-7)


def _inputs(repair: Repair) -> None:
    model = make_model()
    given = context(repair, model, answers_of(repair, make_model()))
    watched = [tensor for tensor in (given.answers,) if tensor is not None]
    if given.data is not None:
        watched += [given.data.originals.inputs, given.data.originals.labels]
    watched += [t for guide in (given.guide, given.suspects and given.suspects.guide) if guide
                for t in (guide.embeddings, guide.text_embeddings, guide.logits)]  # fmt: skip
    watched += [t for held in (given.clean, given.suspects and given.suspects.data) if held
                for t in (held.inputs, held.labels)]  # fmt: skip
    if given.suspects is not None and given.suspects.split is not None:
        parts = given.suspects.split
        watched += [parts.clean, parts.triggered, parts.mixed, *parts.scores.values()]
    copies = [tensor.clone() for tensor in watched]
    repair.repair(model, given)
    require(unchanged(copies, watched), "answers, the data it was given or the guide's targets were changed")


def _left_alone(repair: Repair) -> None:
    model = make_model()
    trainable = [p.requires_grad for p in model.parameters()]
    repair.repair(model, context(repair, model, answers_of(repair, make_model())))
    require_left_alone(model, trainable)


def _question(repair: Repair) -> None:
    if repair.needs.survey is None:
        return
    model = make_model()
    before = snapshot(model)
    asked = [repair.needs.survey(model, INFO) for _ in range(2)]
    require(asked[0] == asked[1], f"it asks something else of the same model: {asked}")
    require(same(before, snapshot(model)), "its question changes the model")


REPAIR_PROMISES: Mapping[str, Promise[Repair]] = {
    "model and facts are finite, the model's layout stays": _finite,
    "same seed, same model": _deterministic,
    "the order of clients is irrelevant": _order,
    "answers, data and guide are left as they were": _inputs,
    "the model is left in eval mode without gradients": _left_alone,
    "asking changes nothing": _question,
}
"""Promise -> its check."""
