"""No text for users advises to delete checkpoints, which are what a training continues from and are nowhere else."""

import ast
import re
from collections.abc import Iterator

import pytest
from support.places import ROOT

DELETES = r"\b(delete|remove|erase|discard|wipe|throw away|get rid of|rm)\b"
ADVISED = re.compile(
    rf"{DELETES}[^.;:\n]*\bcheckpoints?\b|\bcheckpoints?\b[^.:]*[;,][^.;:]*{DELETES} (them|it|one|some)\b",
    re.IGNORECASE,
)
"""A verb and what it is about, in one clause, or in the next one as `them`."""
PRONOUN = re.compile(DELETES, re.IGNORECASE)
"""In a module about checkpoints, a message need not name them."""
PROGRAMS = sorted(path for folder in ("packages", "operator") for path in (ROOT / folder).glob("**/src/**/*.py"))
WRITTEN = sorted(
    path
    for pattern in (
        "README.md",
        "docs/**/*.md",
        "examples/**/*.md",
        "examples/**/*.yaml",
        "charts/**/*.yaml",
        "charts/**/NOTES.txt",
        "crds/*.yaml",
    )
    for path in ROOT.glob(pattern)
    if "decisions" not in path.parts and "charts/speechmodel-operator/templates/tests" not in str(path)
)
"""Documents for users. Decisions say what the programs do."""


def texts(source: str) -> Iterator[str]:
    """Yield the texts of a program but for the docstrings of its functions and classes. What an f-string inserts is `{}`."""
    tree = ast.parse(source)
    within: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            within |= {each.value for each in node.body[:1] if isinstance(each, ast.Expr)}
        if isinstance(node, ast.JoinedStr):
            within |= set(ast.walk(node)) - {node}
        if node in within:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield " ".join(node.value.split())


def advising(source: str, *, about_checkpoints: bool = False) -> list[str]:
    """Return the texts of a program that advise to delete checkpoints."""
    pattern = PRONOUN if about_checkpoints else ADVISED
    return [text for text in texts(source) if pattern.search(text)]


def test_no_message_of_a_program_advises_to_delete_checkpoints() -> None:
    assert len(PROGRAMS) > 200
    found = {
        str(path): advising(path.read_text(encoding="utf-8"), about_checkpoints="checkpoint" in path.name)
        for path in PROGRAMS
    }
    assert {path: advice for path, advice in found.items() if advice} == {}


def test_no_document_and_no_field_advises_to_delete_checkpoints() -> None:
    assert len(WRITTEN) > 30
    written = {str(path): " ".join(path.read_text(encoding="utf-8").split()) for path in WRITTEN}
    found = {path: ADVISED.search(text) for path, text in written.items()}
    assert {path: advice.group() for path, advice in found.items() if advice} == {}


@pytest.mark.parametrize(
    "program",
    [
        'fail("the disk is full: delete old checkpoints")',
        'fail(f"{folder}: remove the newest checkpoint, or enlarge the claim")',
        'fail("the checkpoints are damaged; rm them")',
        'class A:\n    keep: int = 3\n    """Number of checkpoints. If the disk is full,\n    delete some checkpoints."""',
    ],
)
def test_such_advice_would_be_found(program: str) -> None:
    assert len(advising(program)) == 1


def test_advice_without_the_word_is_found_in_a_module_about_checkpoints() -> None:
    assert advising('ADVICE = "move them elsewhere, or remove them"', about_checkpoints=True)
    assert advising('"""Remove old ones."""\nMESSAGE = "the file cannot be removed"', about_checkpoints=True) == []
