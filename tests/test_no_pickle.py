"""No code of the project could run what it reads: nothing is unpickled, evaluated, or loaded with leave to do so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible_core.rooms import PACKAGES, ROOT, UNSHIPPED

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"""Modules that run what they read, or may."""
EXCEPTIONS = {
    "fedcrucible_core/learning/models/torchscript.py": (
        "torch.jit.load",
        "a TorchScript archive is a program, and a user may have no other form of a model that is only to score; it "
        "runs by the consent of splitter.NAME.scorer_run alone",
    )
}
"""File -> what it may do that no other may, and why."""
SUSPECT = re.compile(
    r"pickle|dill|joblib|shelve|marshal|yaml|torch\.load|(?<![.\w])(eval|exec)\(|jit\.load|hub\.load|trust_remote|Auto\w+\.from"
)
"""What a file must hold to be worth the parsing."""
MAKES = {"tests"}
"""Folders whose files may make pickles, to try them on loaders."""


def _faults(source: str) -> Iterator[str]:
    """Every line that could run what it reads."""
    if SUSPECT.search(source) is None:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"{node.lineno}: {one.name}" for one in node.names if one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] in MODULES:
            yield f"{node.lineno}: {node.module}"
        elif isinstance(node, ast.Call):
            said, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            if said == "torch.load" and given.get("weights_only") != "True":
                yield f"{node.lineno}: torch.load without weights_only=True"
            if given.get("allow_pickle", "False") != "False" or given.get("trust_remote_code", "False") != "False":
                yield f"{node.lineno}: {said} with leave to run programs"
            if re.fullmatch(r"yaml\.(\w+_)?load(_all)?", said) and not said.startswith("yaml.safe_load"):
                yield f"{node.lineno}: {said}, which may make any object"
            if said in ("eval", "exec", "torch.jit.load", "torch.hub.load") or said.endswith(".read_pickle"):
                yield f"{node.lineno}: {said}"
    autos, refused = (
        len(re.findall(p, source)) for p in (r"Auto(?!Pipeline)\w+\.from_pretrained", "trust_remote_code=False")
    )
    if autos > refused:
        yield "an Auto class that may load a folder's own code: say trust_remote_code=False"


def test_no_loading_code_could_run_what_it_reads() -> None:
    tops = [ROOT / name for name in (*PACKAGES, *UNSHIPPED, "examples") if name not in MAKES]
    found = {str(path): list(_faults(path.read_text("utf-8"))) for top in tops for path in sorted(top.rglob("*.py"))}
    faulty = {Path(path).relative_to(ROOT).as_posix(): faults for path, faults in found.items() if faults}
    assert set(faulty) == set(EXCEPTIONS)
    for path, (allowed, _) in EXCEPTIONS.items():
        assert [fault.partition(": ")[2] for fault in faulty[path]] == [allowed]


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load(p)", "torch.load(p, weights_only=False)", "eval(x)",
     "np.load(p, allow_pickle=True)", "AutoModel.from_pretrained(p)", "A.from_pretrained(p, trust_remote_code=True)",
     "pd.read_pickle(p)", "yaml.load(p)", "yaml.full_load(p)", "yaml.unsafe_load_all(p)"],
)  # fmt: skip
def test_what_could_is_found(source: str) -> None:
    assert list(_faults(source))


def test_what_could_not_is_let_through() -> None:
    torch_and_numpy = "model.eval(); torch.load(p, weights_only=True); np.load(p, allow_pickle=False)"
    assert list(_faults(f"{torch_and_numpy}; yaml.safe_load(p); yaml.dump(p)")) == []
