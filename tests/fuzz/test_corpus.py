"""What fuzzing has found, once more: every file of the corpus, and hostile ones made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_gives_results_or_errors_of_bakepy(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs, "there is a corpus"
    for each in inputs:
        try:
            TARGETS[name].run(each.read_bytes())
        except Exception as error:
            error.add_note(f"in {each}")
            raise
