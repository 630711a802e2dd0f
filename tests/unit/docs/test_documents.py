"""Every path and every command that the documents name exists."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from kubecluster.__main__ import main as kubecluster
from speechmodel_cli.command_line import speechmodel
from support.places import ROOT

TOPS = [top for top in ROOT.glob("[!.]*") if top.name != "build"]
FILES = [str(path.relative_to(ROOT)) for top in TOPS for path in (top, *top.rglob("*")) if path.is_file()]
"""Files of the repository, without hidden folders and what commands build."""
FOLDERS = {str(parent) for file in FILES for parent in Path(file).parents} - {"."}
NAMES = {Path(path).name for path in FOLDERS}
DOCUMENTS = [
    file for file in FILES if file.endswith(".md") and not file.startswith("tests/") and file != "CHANGELOG.md"
]
"""The change log names what was there when it was written."""
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
ELSEWHERE = {"coqui_stt_training", "deepspeech_training"}
"""Packages of other environments."""
GROUPS = {"speechmodel": speechmodel, "kubecluster": kubecluster}
PATH = re.compile(r"[A-Za-z0-9_.*-]+(/[A-Za-z0-9_.*-]+)*/?")
FENCE = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
"""A code block: its language and its lines. One of a list item is indented."""
SHELL = ("", "sh", "bash", "console")
SOURCE = re.compile(r".*\.(py|md|toml|tpl)")


def spans(document: str) -> list[str]:
    """Return the inline code of a document and the lines of its code blocks."""
    return spans_of((ROOT / document).read_text(encoding="utf-8"))


def spans_of(text: str) -> list[str]:
    blocks = [block for language, block in FENCE.findall(text) if language in SHELL]
    prose = FENCE.sub("", text)
    return re.findall(r"`([^`]+)`", prose) + [line for block in blocks for line in block.splitlines()]


def words(span: str) -> list[str]:
    try:
        return shlex.split(span, comments=True)
    except ValueError:  # an open quote: prose or half of a command
        return span.split()


def looks_like_ours(word: str) -> bool:
    """Return True for a path whose first folder is in the repository, and for the name of a source file."""
    first, slash, _ = word.partition("/")
    return bool(PATH.fullmatch(word)) and (first in NAMES if slash else bool(SOURCE.fullmatch(word)))


def exists(path: str, document: str) -> bool:
    """Return True when the path is in the repository, beside the document, or the end of another path."""
    if any(any(base.glob(path.rstrip("/"))) for base in (ROOT, (ROOT / document).parent)):
        return True
    return any(f"/{known}".endswith(f"/{path.rstrip('/')}") for known in (*FILES, *FOLDERS))


def problem(command: list[str]) -> str | None:
    """Return what a command names that does not exist."""
    program, *arguments = command
    name = Path(program).name
    if name == "make":
        unknown = [a for a in arguments if re.fullmatch(r"[a-z0-9-]+", a) and a not in TARGETS]
        return f"make targets {unknown}" if unknown else None
    if name.startswith("python") and arguments[:1] == ["-m"]:
        module = arguments[1]
        package = module.partition(".")[0]
        if package in ELSEWHERE:
            return None
        if find_spec(package) is None or find_spec(module) is None:
            return f"module {module}"
        name, arguments = package, arguments[2:]
    if name in GROUPS and arguments:
        return unknown_option(GROUPS[name], arguments)
    return None


def unknown_option(group: click.Group, arguments: list[str]) -> str | None:
    name = arguments[0].rstrip(')"')
    if name.startswith("-"):
        return None
    subcommand = group.commands.get(name)
    if subcommand is None:
        return f"subcommand {name}"
    known = {option for parameter in subcommand.params for option in parameter.opts}
    unknown = [a for a in arguments[1:] if a.startswith("--") and a != "--" and a.partition("=")[0] not in known]
    return f"options {unknown} of {name}" if unknown else None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document: str) -> None:
    named = {word for span in spans(document) for word in words(span) if looks_like_ours(word)}
    assert [path for path in sorted(named) if not exists(path, document)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text(encoding="utf-8"))
    folder = (ROOT / document).parent
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_is_named_exists(document: str) -> None:
    commands = [words(part) for span in spans(document) for part in re.split(r"\s*(?:;|&&|\$\()\s*", span)]
    assert [found for command in commands if command and (found := problem(command))] == []


def test_commands_are_found_between_blocks_of_other_languages_and_in_lists() -> None:
    text = "```yaml\na: `b`\n```\nand\n```sh\nmake one\n```\n`c`\n- item:\n\n  ```\n  make two\n  ```\n\n```text\nmake three\n```\n"
    assert [span.strip() for span in spans_of(text)] == ["c", "make one", "make two"]


def test_the_documents_name_paths_and_commands() -> None:
    """The tests above would pass if they found nothing."""
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md", "tools/kubecluster/README.md"} <= set(DOCUMENTS)
    found = [span for document in DOCUMENTS for span in spans(document)]
    assert sum(looks_like_ours(word) for span in found for word in words(span)) > 30
    assert sum(span.startswith("make ") for span in found) > 10
    assert problem(["make", "nothing"]) and problem(["speechmodel", "run", "--nothing"])
    assert problem(["python", "-m", "kubecluster", "nothing"]) and problem([".venv/bin/python", "-m", "nothing"])
    assert problem(["python", "-m", "kubecluster.nothing"])
    assert not exists("tests/nothing", "README.md")
