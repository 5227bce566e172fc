"""The search alone, with closed-form answers: distinct, reproducible, resumable, and not fooled by failures."""

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from standin_trial import StandInEvaluator

from reports.record import State, Trial
from sweeps.config.space import BASELINE, Candidate, Space
from sweeps.search.optuna_study import PendingTrial, Study
from sweeps.storage.local_coordinator import LocalCoordinator

SPACE = Space(("channels",), (0.0, 0.25, 0.5), (4, 8, 32), (8, 32), (1, 2, 4))
SMALL = Space(("channels",), (0.0, 0.25, 0.5), (4, 8, 32), (8, 32), (1,))
STAGED = Space(
    ("channels",), (0.0,), (4, 8, 32), (8, 16, 32), (1,), aspp_weight_bits=(4, 6), decoder_activation_bits=(4, 8)
)

SAMPLERS = ["ehvi", "tpe", "nsga2", "qmc", "grid", "random"]


def measured(question: PendingTrial, state: State = State.COMPLETE) -> Trial:
    measurement = StandInEvaluator().evaluate(question.candidate) if state is State.COMPLETE else None
    params = question.candidate.as_params()
    return Trial(question.number, params, str(question.candidate), state, state is State.COMPLETE, measurement)


def search(study: Study, until: int, finished: dict[int, Trial], state: State = State.COMPLETE) -> list[Candidate]:
    while len(finished) < until:
        question = study.ask(finished)
        if question is None:
            break
        trial = measured(question, state if question.number else State.COMPLETE)
        study.tell(question, trial, {})
        finished[question.number] = trial
    return [Candidate.from_params(finished[number].params) for number in sorted(finished)]


def open_study(folder: Path, sampler: str = "tpe", seed: int = 0, space: Space = SPACE) -> Study:
    folder.mkdir(exist_ok=True)
    return Study(LocalCoordinator(folder, 0), "s", space, sampler, seed)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_candidate_is_asked_once_until_none_is_left(tmp_path: Path, sampler: str) -> None:
    tried = search(open_study(tmp_path, sampler, space=SMALL), 100, {})
    assert len(tried) == len(set(tried)) == len(SMALL.candidates()) == 9
    assert tried[0] == BASELINE


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_stages_are_dimensions_like_any_other(tmp_path: Path, sampler: str) -> None:
    study = open_study(tmp_path, sampler, space=STAGED)
    for candidate in STAGED.candidates():
        assert study.candidate_of(study.params_of(candidate)) == candidate
    finished: dict[int, Trial] = {}
    search(study, 5, finished)
    asked = study.ask(finished)
    again = open_study(tmp_path, sampler, space=STAGED)
    (question,) = again.unfinished(finished)
    assert question == asked
    finished[question.number] = measured(question)
    again.tell(question, finished[question.number], {})
    tried = search(again, 100, finished)
    # 4 or 8 bits, each with 2 of the ASPP and either 8-bit activations with 2 of the decoder or 16-bit ones; and float
    assert len(tried) == len(set(tried)) == len(STAGED.candidates()) == 2 * 2 * (2 + 1) + 1


def test_the_same_seed_gives_the_same_order_and_another_does_not(tmp_path: Path) -> None:
    one, two, other = (
        search(open_study(tmp_path / name, seed=seed), 14, {}) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert one == two
    assert one != other


def test_a_resumed_study_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = search(open_study(tmp_path / "whole"), 16, {})
    finished: dict[int, Trial] = {}
    search(open_study(tmp_path / "parts"), 7, finished)
    again = open_study(tmp_path / "parts")
    assert again.unfinished(finished) == []
    assert search(again, 16, finished) == whole


def test_an_open_question_is_found_again_after_a_kill(tmp_path: Path) -> None:
    study, finished = open_study(tmp_path), {}
    search(study, 3, finished)
    asked = study.ask(finished)
    again = open_study(tmp_path)
    assert again.unfinished(finished) == [asked]
    assert again.ask(finished).number == asked.number + 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_was_put_off_is_taken_up_again_and_the_search_goes_on_as_if_it_had_not_been(
    tmp_path: Path, sampler: str
) -> None:
    whole = search(open_study(tmp_path / "whole", sampler), 9, {})
    study, finished = open_study(tmp_path / "parts", sampler), {}
    search(study, 3, finished)
    asked = study.ask(finished)
    study.defer(asked)
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'parts' / 'study.db'}")
    assert all(trial.state.is_finished() for trial in stored.trials[:-1])
    assert stored.trials[-1].state == TrialState.WAITING
    again = open_study(tmp_path / "parts", sampler)
    (question,) = again.unfinished(finished)
    assert (question.number, question.candidate, question.known) == (asked.number, asked.candidate, 3)
    finished[question.number] = measured(question)
    again.tell(question, finished[question.number], {})
    assert search(again, 9, finished) == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_question_knows_what_it_may_know_and_no_more(tmp_path: Path, sampler: str) -> None:
    """With three questions open at once; in the second search, two of them were told sooner, as a stop tells them."""

    def asked(folder: Path, told_sooner: frozenset[int]) -> list[str]:
        study, told, names = open_study(folder, sampler), {}, []
        waiting: list[PendingTrial] = []
        for number in range(14):
            while len(waiting) > 2 or (waiting and number in told_sooner):
                question = waiting.pop(0)
                told[question.number] = measured(question)
                study.tell(question, told[question.number], {})
            known = {n: trial for n, trial in told.items() if n < number - 2}
            waiting.append(study.ask(known))
            names.append(str(waiting[-1].candidate))
        return names

    assert asked(tmp_path / "stopped", frozenset({6, 11})) == asked(tmp_path / "whole", frozenset())


def test_a_failed_candidate_is_not_tried_again(tmp_path: Path) -> None:
    tried = search(open_study(tmp_path, space=SMALL), 100, {}, State.FAILED)
    assert len(tried) == len(set(tried)) == 9


def test_a_baseline_outside_the_space_is_trial_0_all_the_same(tmp_path: Path) -> None:
    space = Space(("channels",), (0.25, 0.5), (4, 8), (8,), (2, 4))
    tried = search(open_study(tmp_path, space=space), 100, {})
    assert tried[0] == BASELINE
    assert set(tried[1:]) == set(space.candidates())


def test_optuna_holds_what_was_told(tmp_path: Path) -> None:
    study, finished = open_study(tmp_path), {}
    search(study, 5, finished)
    question = study.ask(finished)
    study.tell(question, measured(question, State.PRUNED), {"peak_memory_mb": 1.5})
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    last = stored.trials[question.optuna_number]
    assert last.state == TrialState.PRUNED
    assert last.constraints == {"peak_memory_mb": 1.5}
    first = stored.trials[0]
    assert first.values == [finished[0].measurement.scores.miou, finished[0].memory.peak_memory_bytes / 1e6]
    assert all(trial.state.is_finished() for trial in stored.trials)


@pytest.mark.parametrize("damage", ["lost", "overwritten"])
def test_a_database_that_is_lost_is_made_again_from_what_was_finished(tmp_path: Path, damage: str) -> None:
    finished: dict[int, Trial] = {}
    search(open_study(tmp_path), 6, finished)
    for file in tmp_path.glob("study.db*"):
        file.unlink() if damage == "lost" else file.write_bytes(b"not a database" * 400)
    again = open_study(tmp_path)
    assert again.unfinished(finished) == []
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.values[0] for trial in stored.trials] == [finished[n].measurement.scores.miou for n in range(6)]
    tried = search(again, 12, finished)
    assert len(tried) == len(set(tried)) == 12


def test_a_changed_space_keeps_what_was_tried(tmp_path: Path) -> None:
    finished: dict[int, Trial] = {}
    search(open_study(tmp_path), 6, finished)
    wider = Space(("channels",), (0.0, 0.25, 0.5, 0.75), (4, 8, 32), (8, 32), (1, 2))
    again = open_study(tmp_path, space=wider)
    assert again.unfinished(finished) == []
    tried = search(again, 100, finished)
    assert len(tried) == len(set(tried))
    assert set(wider.candidates()) <= set(tried)


def test_the_databases_of_a_study_have_a_write_ahead_log(tmp_path) -> None:
    """Without one each of some ten commits a trial waits for the disk."""
    Study(LocalCoordinator(tmp_path, 0), "logged", SPACE, "random", 0)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("when", ["chosen", "claimed"])
def test_a_trial_that_another_launch_ends_before_it_is_a_question_is_asked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The last of several launches ends what is running and no question; another may just be making it one."""
    interruptions: list[str] = []

    def interrupt(now: str) -> None:
        if now == when and not interruptions:
            interruptions.append(now)
            assert other.left_running() == []

    class Claiming(LocalCoordinator):
        def claim(self, candidate: Candidate, number: int) -> int | None:
            interrupt("claimed")
            return super().claim(candidate, number)

    class Choosing(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            interrupt("chosen")

    search(open_study(tmp_path, "random"), 1, {})
    other, study = open_study(tmp_path, "random"), Study(Claiming(tmp_path, 0), "s", SPACE, "random", 0)
    monkeypatch.setattr("sweeps.search.optuna_study.make_sampler", lambda *_: Choosing(seed=1))
    finished = {0: measured(PendingTrial(0, BASELINE, None))}
    study.unfinished(finished)
    asked = study.ask(finished)
    assert asked is not None
    study.tell(asked, measured(asked), {})
    assert interruptions == [when]
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert all(trial.state.is_finished() for trial in stored.trials)
    assert stored.trials[-1].state is TrialState.COMPLETE
