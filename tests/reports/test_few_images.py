"""Intervals and shares of resamples of fewer than 20 images are marked as unreliable wherever they are shown."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shown_places import terminal

from evaluation.accuracy import LEAST_IMAGES, Interval, Scores, bootstrap_interval, enough_images
from reports import format as fmt
from reports.compare import compare
from reports.document import write_documents
from reports.health import data_warnings
from reports.record import Early, State, StudyRecord
from sweeps.finish.model_card import model_card
from sweeps.tracking.front import study_note
from sweeps.trial.screening import pruning_reason
from tests.pdf_text import page_texts

MARKED = re.compile(r"[\d.]+ to [\u2212+\u00b1]?[\d.]+\u2020")
UNMARKED = re.compile(r"[\d.]+ to [\u2212+\u00b1-]?\d\.\d{3,4}(?![\d\u2020])")
SENTENCE = "intervals and shares of resamples of fewer than 20 images are unreliable (marked \u2020)."


def of_images(record: StudyRecord, count: int) -> StudyRecord:
    """The record with every split of `count` images."""

    def stretched(scores: Scores) -> Scores:
        chosen = np.arange(count) % len(scores.image_ids)
        return Scores.of([f"image {n}" for n in range(count)], scores.confusions[chosen])

    trials = tuple(
        replace(t, measurement=replace(t.measurement, scores=stretched(t.measurement.scores))) for t in record.trials
    )
    heldout = {number: stretched(scores) for number, scores in record.heldout.items()}
    data = replace(record.data, search_images=count, heldout_images=count)
    return replace(record, trials=trials, heldout=heldout, data=data)


def test_the_least_number_of_images_is_that_of_a_95_percent_interval() -> None:
    assert LEAST_IMAGES == 20
    assert not enough_images(19)
    assert enough_images(20)


@pytest.mark.parametrize(("count", "mark"), [(1, "\u2020"), (2, "\u2020"), (19, "\u2020"), (20, ""), (500, "")])
def test_an_interval_knows_its_images_and_carries_the_mark(count: int, mark: str) -> None:
    confusions = np.tile(np.array([[9, 1], [2, 8]], np.int64), (count, 1, 1))
    interval = bootstrap_interval(Scores.of(map(str, range(count)), confusions))
    assert (interval.images, interval.mark, interval.is_reliable) == (count, mark, not mark)
    assert fmt.interval(interval).endswith(f"{interval.upper:.3f}{mark}")
    assert fmt.signed_interval(Interval(0.1, 0.05, 0.2, 0.95, count)) == f"+0.050 to +0.200{mark}"
    assert fmt.resampled_share(1.0, count) == f"100\u202f%{mark}"


@pytest.mark.parametrize(("count", "is_marked"), [(LEAST_IMAGES - 1, True), (LEAST_IMAGES, False)])
def test_every_interval_of_every_place_is_marked_below_20_images_and_none_from_20_on(
    study, tmp_path: Path, count: int, is_marked: bool
) -> None:
    record = of_images(study(*[State.COMPLETE] * 3), count)
    report, page = write_documents(record, tmp_path)
    pages = [re.sub(r"[\s\u202f]+", " ", page) for page in page_texts(report)]
    drawn = page.read_text()
    hovers = " ".join(re.findall(r'"hovertext":\[(.*?)\]', drawn)).replace("\\u2020", "\u2020")
    shares = {equal[0]: 1.0 for equal in record.front}
    places = {
        "page 1": pages[0],
        "report": " ".join(pages),
        "front.html": hovers,
        "card": model_card(record, record.choice, [], {}, None),
        "comparison": compare(record, replace(record, chosen=0), ("a", "b")).verdict,
    }
    for place, text in places.items():
        found, other = (MARKED, UNMARKED) if is_marked else (UNMARKED, MARKED)
        assert found.search(text), place
        assert not other.search(text), (place, other.search(text))
        assert ("unreliable: from fewer than 20 images" in text) == is_marked, place
    note = study_note(record, "1", "2", {}, shares)
    assert ("100\u202f%\u2020" in note) == is_marked
    assert ("100 %\u2020 of the resamples" in places["page 1"]) == is_marked
    assert ("%\u2020 of the resamples" in hovers) == is_marked
    sentence = f"Only {count} search and {count} held-out images: {SENTENCE}"
    for place in (pages[0], drawn, terminal(record, tmp_path)):
        assert (sentence in place) == is_marked


def test_few_images_are_said_before_the_first_trial(study) -> None:
    data = study(State.COMPLETE).data
    assert data_warnings(replace(data, search_images=2, heldout_images=40)) == [f"Only 2 search images: {SENTENCE}"]
    assert data_warnings(replace(data, search_images=20, heldout_images=3)) == [f"Only 3 held-out images: {SENTENCE}"]
    assert data_warnings(replace(data, search_images=20, heldout_images=20)) == []


@pytest.mark.parametrize(("images", "is_marked"), [(8, True), (20, False)])
def test_a_trial_ended_by_few_images_says_so(images: int, is_marked: bool) -> None:
    reason = pruning_reason(None, Early(images, 40, 3, -0.02))
    assert ("; unreliable: from fewer than 20 images)" in reason) == is_marked
