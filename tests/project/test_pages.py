"""Pages of prose keep what they say: links resolve, files they name exist, commands they show are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argosy.cli.main import VERBS
from project.tree import ROOT, SOURCE, files, named, pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^(?:    |\t)[^\n]*$|^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FILE_IN_PROSE = re.compile(r"`([\w@./-]*[\w@-]\.(?:py|md|toml|txt))`")
DIRECTORY_IN_PROSE = re.compile(r"`((?:[\w-]+/)+)`")
PATTERN = re.compile(r"\b[A-Z]{4,}\.(?!md)")
"""A word in capitals stands for any: `cli/VERB.py` is a pattern, not a file."""

every_page = pytest.mark.parametrize("page", pages(), ids=named)


def text_of(page: Path) -> str:
    return page.read_text()


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ +(.+)$", text_of(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def targets(page: Path) -> list[tuple[Path, str]]:
    """Where a page's links within the repository lead: file and anchor."""
    found = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


def commands(page: Path, program: str) -> set[str]:
    """The first words that follow `program` in a page's code."""
    code = "\n".join(CODE.findall(text_of(page)))
    return set(re.findall(rf"(?<![\w./=-]){program} ([a-z][a-z-]*)\b", code))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        f"{path}#{anchor}"
        for path, anchor in targets(page)
        if not path.exists() or (anchor and anchor not in anchors(path))
    ]
    assert broken == []


@every_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    places = [ROOT, SOURCE, page.parent, ROOT / "tests"]
    missing = [
        name
        for name in FILE_IN_PROSE.findall(text_of(page))
        if not name.startswith("/")  # a place on machines
        and not PATTERN.search(name)
        and not any((place / name).exists() for place in places)
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_directories_that_a_page_names_exist(name: str) -> None:
    directories = DIRECTORY_IN_PROSE.findall(text_of(ROOT / name))
    assert [d for d in directories if not (SOURCE / d).is_dir() and not (ROOT / d).is_dir()] == []


@every_page
def test_make_targets_that_a_page_shows_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert commands(page, "make") <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@every_page
def test_verbs_that_a_page_shows_exist(page: Path) -> None:
    verbs = {verb.partition(" ")[0] for group in VERBS.values() for verb in group}
    assert commands(page, "argosy") <= verbs


def test_the_examples_are_listed() -> None:
    listed = {path.name for path, _ in targets(ROOT / "examples/README.md")}
    there = {
        path.relative_to(ROOT / "examples").parts[0]
        for path in files()
        if ROOT / "examples" in path.parents
    }
    assert there - {"README.md"} == listed


@pytest.mark.parametrize(
    "index", [ROOT / "docs/README.md", ROOT / "docs/design/README.md"], ids=named
)
def test_every_page_of_a_directory_is_in_its_index(index: Path) -> None:
    there = {page for page in pages() if index.parent in page.parents and page != index}
    seen: set[Path] = set()
    ahead = [index]
    while ahead:
        new = {path for path, _ in targets(ahead.pop()) if path in there} - seen
        seen |= new
        ahead += new
    assert sorted(map(named, there - seen)) == []


def test_change_notes_have_names_that_say_their_kind() -> None:
    notes = [path.name for path in files() if path.parent == ROOT / "changes"]
    kinds = re.findall(r"^\| `(\w+)` \|", (ROOT / "changes/README.md").read_text(), re.MULTILINE)
    assert len(notes) > 1
    pattern = re.compile(rf"[a-z0-9-]+\.(?:{'|'.join(kinds)})\.md")
    assert [name for name in notes if name != "README.md" and not pattern.fullmatch(name)] == []


def test_no_file_names_the_directory_it_was_written_in() -> None:
    here = f"{ROOT}/".encode()
    assert [named(path) for path in files() if here in path.read_bytes()] == []


def test_no_file_has_the_marks_of_a_merge_that_failed() -> None:
    mark = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)
    assert [named(path) for path in files() if mark.search(path.read_bytes())] == []
