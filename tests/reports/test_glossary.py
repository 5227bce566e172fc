"""The one list of words: the page of the docs is made of it, and its words are those that are used."""

from pathlib import Path

import pytest

from reports.glossary import WORDS, as_markdown

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_page_of_the_docs_is_this_list() -> None:
    assert (REPOSITORY / "docs" / "glossary.md").read_text() == as_markdown(), "python -m reports.glossary > it"


@pytest.mark.parametrize("word", [one.word for one in WORDS])
def test_a_word_is_explained_once(word: str) -> None:
    assert [one.word for one in WORDS].count(word) == 1
