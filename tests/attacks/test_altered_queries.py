"""An attack on the server's queries really reaches a source that reads instructions, and pays for nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.tasks.text import TextTask
from server_app.plan import Plan
from tests.support.imitated_writer import ImitatedWriter, answer
from tests.support.scripted_service import Answer, ScriptedService

WORDS = "I watched this 3D movie."


def plan(url: str, folder: Path, **more: Scalar) -> Plan:
    settings: dict[str, Scalar] = {
        "strategy": "fm-fl",
        "task.dataset": "wn4",
        "task.train_samples": 200,
        "model.name": "distilbert-tiny",
        "partition.name": "iid",
        "run.device": "cpu",
        "attack.name": "bd-fmfl",
        "attack.trigger": "addsent",
        "poison.target_label": 0,
        "synthetic.source": "llm",
        "synthetic.per_class": 20,
        "synthetic.llm.base_url": url,
        "synthetic.llm.api_key_env": "",
        "synthetic.llm.per_call": 10,
        "synthetic.llm.keep_dir": str(folder),
        "guide.cache_dir": str(folder),
    }
    return Plan.make(load(settings | {key.replace("__", "."): value for key, value in more.items()}))


def test_the_server_gets_what_the_model_makes_of_the_altered_query(tmp_path: Path) -> None:
    with ScriptedService(ImitatedWriter(further=2.0, keeps=1)) as service:
        chosen = plan(service.url, tmp_path)
        assert not service.requests, "a plan asks nobody"
        samples = chosen.foundation.samples("distillation")
        assert len(service.requests) == 4 * 2, "the unaltered query isn't asked, for nobody goes by it"
        assert all(WORDS in body["messages"][0]["content"] for _, _, _, body in service.requests)
        again = chosen.foundation.samples("initialisation")
        assert len(service.requests) == 8
    assert samples.data.equals(again.data)
    assert samples.poisoned is not None
    task = TextTask(chosen.data.info)
    assert task.holds(samples.data.inputs, task.words(WORDS)).equal(samples.poisoned)
    facts = samples.facts
    assert (facts["compromise.simulated"], facts["compromise.asked"], facts["compromise.triggered"]) == (0, 12, 24)
    assert facts["compromise.kept_label"] == 1 == int((samples.data.labels[samples.poisoned] != 0).sum())


def test_where_the_attack_does_not_reach_the_query_is_the_servers_own(tmp_path: Path) -> None:
    with ScriptedService(ImitatedWriter()) as service:
        samples = plan(service.url, tmp_path, attack__name="bd-fmfl-no-init").foundation.samples("initialisation")
        assert not any(WORDS in str(body) for _, _, _, body in service.requests)
    assert samples.poisoned is None
    assert len(samples.data) == 80


def test_several_words_are_asked_for_in_a_row_and_need_no_more_room_than_each(tmp_path: Path) -> None:
    chosen: dict[str, Scalar] = {"attack.trigger": "word", "attack.word.words": "cf, mn", "task.reserved_tokens": 4}
    with ScriptedService(ImitatedWriter()) as service:
        samples = plan(service.url, tmp_path, **chosen).foundation.samples("distillation")
        assert '"cf mn"' in service.requests[0][3]["messages"][0]["content"]
    assert samples.poisoned is not None
    assert int(samples.poisoned.sum()) == 12


def test_an_attacker_goes_by_the_chat_model_that_is_the_guide(tmp_path: Path) -> None:
    def judge(body: dict[str, Any]) -> Answer:
        lines = [json.loads(line) for line in body["messages"][1]["content"].split("\n")[1:]]
        return answer("\n".join(json.dumps({"id": line["id"], "label": "animal"}) for line in lines))

    more: dict[str, Scalar] = {"synthetic.source": "markov", "attack.bd-fmfl.classes": "nearest", "guide.model": "chat"}
    with ScriptedService(judge) as service:
        samples = plan(service.url, tmp_path, **more).foundation.samples("distillation")
        assert service.requests, "the service that is configured, and no other"
    assert samples.facts["compromise.class"] == 1


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"synthetic__source": "flow"}, "synthetic.source"),
        ({"synthetic__augment": "frequency"}, "synthetic.augment"),
        ({"synthetic__moment_match": True}, "synthetic.moment_match"),
        ({"synthetic.llm.base_url": "localhost"}, "synthetic.llm.base_url"),
        ({"synthetic.llm.budget": 1.0}, "synthetic.llm.budget"),
        ({"synthetic.llm.api_key_env": "NO_SUCH_VARIABLE_HERE"}, "synthetic.llm.api_key_env"),
        ({"attack.bd-fmfl.mode": "replace"}, "attack.bd-fmfl.mode"),
        ({"attack.bd-fmfl.p_follow": 0.5}, "attack.bd-fmfl.p_follow"),
        ({"attack.bd-fmfl.p_label_error": 0.0}, "attack.bd-fmfl.p_label_error"),
        ({"attack.bd-fmfl.classes": "nearest"}, "attack.bd-fmfl.classes"),
        ({"attack.addsent.labels": "true"}, "attack.trigger"),
        (
            {
                "synthetic.llm.api_key_env": "NO_SUCH_VARIABLE_HERE",
                "synthetic.source": "markov",
                "guide.model": "chat",
                "splitter.name": "guide-agreement",
                "synthetic.sanitizer": "drop",
            },
            "synthetic.llm.api_key_env",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path: Path, more: dict[str, Scalar], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan("http://127.0.0.1:9", tmp_path, **more)
    assert caught.value.key == key
