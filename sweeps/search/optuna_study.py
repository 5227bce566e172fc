"""Ask and tell: Optuna's samplers over the levels of the space, each candidate tried once.

Optuna has a trial of its own for every ask, repeats included. The numbers of *our* trials count distinct candidates and
are stored in the user attribute `question`. Each ask has a sampler seeded by our number, so that the order does not
depend on how often the study was stopped and resumed.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from reports.record import State, Trial
from sweeps.config.constraints import costs_of
from sweeps.config.space import BASELINE, Candidate, Space
from sweeps.search.ehvi import UNLIMITED, Acquisition, next_candidate
from sweeps.search.samplers import make_sampler, mixed_seed
from sweeps.storage.coordinator import BudgetSpentError, Claim, Coordinator
from sweeps.storage.known_storage import QUESTION, KnownStorage

REPEATS_BEFORE_RANDOM = 8
"""Consecutive repeats after which an untried candidate is drawn at random: samplers repeat themselves in a nearly
exhausted space."""

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(frozen=True)
class PendingTrial:
    """A candidate to be evaluated, with its number."""

    number: int
    candidate: Candidate
    optuna_number: int | None
    """Number of Optuna's trial; None for a baseline outside the space, and where Optuna has been told already."""
    known: int = 0
    """Number of trials told before it was asked; screening uses no others."""


def _as_attribute(number: int, candidate: Candidate, known: int) -> dict[str, Any]:
    return {"number": number, "candidate": candidate.as_params(), "known": known}


class Study:
    """Ask and tell on a study of Optuna's. Not thread-safe; only the parent process has one.

    Args:
        coordinator: opens Optuna's study and assigns candidates to processes.
        name: name of Optuna's study.
        costs: objectives other than mIoU, by the names of `sweeps.config.constraints.PLANNED`.
        worth: costs and limits for `ehvi`.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        name: str,
        space: Space,
        sampler: str,
        seed: int,
        costs: Sequence[str] = ("peak_memory_mb",),
        acquisition: Acquisition = UNLIMITED,
    ) -> None:
        self._coordinator, self._acquisition = coordinator, acquisition
        self._space, self._sampler, self._seed, self._costs = space, sampler, seed, tuple(costs)
        self._levels = space.levels()
        self._untried = dict.fromkeys(space.candidates())
        """Untried candidates in the order of the space."""
        self._searched = frozenset(self._untried)
        directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * len(self._costs)]

        def load(storage: KnownStorage) -> optuna.Study:
            return optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)

        self._study, self._storage = coordinator.open_study(load, self._fits)
        self._study_id = self._storage.get_study_id_from_name(name)
        self._study.set_metric_names(["miou", *costs])
        self.asked: dict[Candidate, int] = {}
        """Number of every candidate asked so far."""

    def _fits(self, study: optuna.Study) -> bool:
        """Whether the study's trials are of this space; otherwise it is rebuilt from the journal."""
        if len(study.directions) != 1 + len(self._costs):
            return False
        own = self._distributions()
        asked = [trial for trial in study.get_trials(deepcopy=False) if QUESTION in trial.user_attrs]
        return all(trial.distributions == own for trial in asked)

    def unfinished(self, finished: Mapping[int, Trial]) -> list[PendingTrial]:
        """The pending trials after a stop, in order; those in `finished` are to be told again.

        A finished trial that Optuna lacks, after a loss of its database or a change of the space, is added. One that
        Optuna was told and `finished` lacks, after damage to the journal, is asked again under its number; Optuna keeps
        its answer.
        """
        pending_trials: dict[int, PendingTrial] = {}
        if finished:
            self._register(BASELINE, 0)
            if 0 not in finished:
                pending_trials[0] = PendingTrial(0, BASELINE, None)
        known: set[int] = set()
        for trial in self._study.get_trials(deepcopy=False):
            if QUESTION not in trial.user_attrs:
                if trial.state == TrialState.RUNNING:
                    self._end(trial.number, TrialState.FAIL)
                continue
            asked = trial.user_attrs[QUESTION]
            candidate = Candidate.from_params(asked["candidate"])
            self._register(candidate, asked["number"])
            known.add(asked["number"])
            if not trial.state.is_finished():
                self._set_state(trial.number, TrialState.RUNNING)
                pending_trials[asked["number"]] = PendingTrial(asked["number"], candidate, trial.number, asked["known"])
            elif asked["number"] not in finished:
                pending_trials.setdefault(
                    asked["number"], PendingTrial(asked["number"], candidate, None, asked["known"])
                )
        for number, result in finished.items():
            if number not in known:
                self._restore(result)
        return [pending_trials[number] for number in sorted(pending_trials)]

    def _restore(self, trial: Trial) -> None:
        candidate = Candidate.from_params(trial.params)
        self._register(candidate, trial.number)
        if candidate not in self._searched:
            return
        attribute = _as_attribute(trial.number, candidate, trial.number)
        complete = trial.state is State.COMPLETE
        states = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=states[trial.state],
                values=self._values(trial) if complete else None,
                params=self.params_of(candidate),
                distributions=self._distributions(),
                user_attrs={QUESTION: attribute},
            )
        )

    def ask(self, finished: Mapping[int, Trial]) -> PendingTrial | None:
        """The next candidate that was never tried; None once the space is exhausted.

        A repeat is answered from `finished` and does not count.

        Args:
            finished: the trials that the sampler may use, by number; all others appear to it as running.

        Raises:
            BudgetSpentError: other processes have claimed the rest of the budget.
        """
        self._sync_asked()
        if BASELINE not in self.asked:
            return self._ask_baseline()
        number = max(self.asked.values()) + 1
        if not self._untried:
            return None
        rng = random.Random(mixed_seed(self._seed, number))
        for attempt in range(REPEATS_BEFORE_RANDOM + 1):
            candidate, trial = None, None
            if attempt == REPEATS_BEFORE_RANDOM or self._sampler == "grid":
                candidate = rng.choice(list(self._untried))
            elif self._sampler == "ehvi":
                pending = [asked for asked, number in self.asked.items() if number not in finished]
                candidate = next_candidate(
                    self._space, list(finished.values()), pending, list(self._untried), self._acquisition
                )
            else:
                trial = self._ask_optuna(number + 100_003 * attempt, finished)
                candidate = self.candidate_of(trial.params)
            if candidate not in self.asked and (pending_trial := self._claim(number, candidate, trial, len(finished))):
                return pending_trial
            if trial is not None:
                self._answer_repeat(trial, self.asked[candidate], finished)
        return self.ask(finished)  # another process claimed each of them first

    def pending_trial_of(self, claim: Claim, known: int) -> PendingTrial:
        """The pending trial of a claim that another process left, or whose answer was damaged."""
        own = [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.user_attrs.get(QUESTION, {}).get("number") == claim.number
        ]
        for trial in own:
            if not trial.state.is_finished():
                self._set_state(trial.number, TrialState.RUNNING)
                return PendingTrial(claim.number, claim.candidate, trial.number, known)
        if own:
            return PendingTrial(claim.number, claim.candidate, None, known)
        return self._begin(claim.number, claim.candidate, known)

    def _sync_asked(self) -> None:
        for candidate, number in self._coordinator.asked.items():
            if candidate not in self.asked:
                self._register(candidate, number)

    def _ask_baseline(self) -> PendingTrial | None:
        if self._coordinator.claim(BASELINE, 0) is None:
            return self.ask({})
        self._register(BASELINE, 0)
        return self._begin(0, BASELINE, 0)

    def _begin(self, number: int, candidate: Candidate, known: int) -> PendingTrial:
        """Create Optuna's trial for a candidate that its sampler did not propose, in one transaction."""
        if candidate not in self._searched:
            return PendingTrial(number, candidate, None, known)
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=self.params_of(candidate),
            distributions=self._distributions(),
            user_attrs={QUESTION: _as_attribute(number, candidate, known)},
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=trial)
        return PendingTrial(number, candidate, self._storage.get_trial_number_from_id(trial_id), known)

    def _ask_optuna(self, number: int, known: Collection[int]) -> OptunaTrial:
        """A trial proposed by Optuna's sampler; repeated where the last of several processes ended the trial because it
        had no attribute yet."""
        while True:
            self._study.sampler = make_sampler(self._sampler, self._seed, number)
            with suppress(UpdateFinishedTrialError), self._storage.showing(known):
                return self._study.ask(self._distributions())

    def _register(self, candidate: Candidate, number: int) -> None:
        self.asked[candidate] = number
        self._untried.pop(candidate, None)

    def _claim(self, number: int, candidate: Candidate, trial: OptunaTrial | None, known: int) -> PendingTrial | None:
        """Claim a candidate; None if another process was first. `trial`: Optuna's, where its sampler proposed it."""
        try:
            claimed = self._coordinator.claim(candidate, number)
        except BudgetSpentError:
            if trial is not None:
                self._end(trial.number, TrialState.FAIL)
            raise
        if claimed is None:
            self._sync_asked()
            return None
        self._register(candidate, claimed)
        if trial is not None:
            with suppress(UpdateFinishedTrialError):  # the last of several processes ended it
                trial.set_user_attr(QUESTION, _as_attribute(claimed, candidate, known))
                return PendingTrial(claimed, candidate, trial.number, known)
        return self._begin(claimed, candidate, known)

    def tell(self, pending_trial: PendingTrial, result: Trial, constraints: Mapping[str, float]) -> None:
        """Tell Optuna the result of a trial. `constraints`: excess over each limit by name, feasible if <= 0."""
        if pending_trial.optuna_number is None:
            return
        values = self._values(result) if result.state is State.COMPLETE else None
        states = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}
        # The last of several processes tells trials that others seem to have left; these may be telling them now.
        with suppress(UpdateFinishedTrialError):
            if constraints:
                trial = OptunaTrial(self._study, self._trial_id(pending_trial.optuna_number))
                for name, excess in constraints.items():
                    trial.set_constraint(name, excess)
            # `Study.tell` does the same in 20 ms instead of 4, since it reads the trial before and after; the samplers'
            # `after_trial` only serves `constraints_func`, which is not used here.
            self._set_state(pending_trial.optuna_number, states[result.state], values)

    def left_running(self) -> list[PendingTrial]:
        """Pending trials that are still RUNNING in Optuna; a trial of Optuna's without our attribute is ended."""
        pending_trials = []
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if QUESTION in trial.user_attrs:
                asked = trial.user_attrs[QUESTION]
                candidate = Candidate.from_params(asked["candidate"])
                pending_trials.append(PendingTrial(asked["number"], candidate, trial.number, asked["known"]))
            else:
                self._end(trial.number, TrialState.FAIL)
        return pending_trials

    def defer(self, pending_trial: PendingTrial) -> None:
        """Set a trial WAITING in Optuna until `unfinished` returns it again. No trial may be asked before that."""
        if pending_trial.optuna_number is not None:
            self._set_state(pending_trial.optuna_number, TrialState.WAITING)

    def _set_state(self, optuna_number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._storage.set_trial_state_values(self._trial_id(optuna_number), state, values)

    def _end(self, optuna_number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """End one of Optuna's trials, unless another process has just done so."""
        with suppress(UpdateFinishedTrialError):
            self._set_state(optuna_number, state, values)

    def _answer_repeat(self, trial: OptunaTrial, number: int, finished: Mapping[int, Trial]) -> None:
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr("repeat_of", number)
        known = finished.get(number)
        if known is not None and known.state is State.COMPLETE:
            self._end(trial.number, TrialState.COMPLETE, self._values(known))
        elif known is None:
            self._end(trial.number, TrialState.FAIL)  # still running, without a result yet
        else:
            # TPE ignores FAIL and proposes the candidate again (48 of 60, measured); it avoids PRUNED ones.
            self._end(trial.number, TrialState.PRUNED)

    def _trial_id(self, optuna_number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, optuna_number)

    def _distributions(self) -> dict[str, BaseDistribution]:
        """Distributions over the indices of levels, which are ordered but not evenly spaced."""
        return {
            name: CategoricalDistribution(levels) if name == "pruning" else IntDistribution(0, len(levels) - 1)
            for name, levels in self._levels.items()
            if len(levels) > 1
        }

    def candidate_of(self, params: Mapping[str, Any]) -> Candidate:
        """The candidate of Optuna's parameters; a missing parameter is at its first level."""
        chosen = {}
        for name, levels in self._levels.items():
            value = params.get(name, 0)
            chosen[name] = levels[value] if isinstance(value, int) else value
        return self._space.candidate(**chosen)

    def params_of(self, candidate: Candidate) -> dict[str, Any]:
        """Optuna's parameters of a candidate: the index of its level in every dimension of several levels."""
        params, values = {}, candidate.as_params()
        for name, levels in self._levels.items():
            value = values[name] if name in values else candidate.bits_of(name)  # the stage follows the backbone
            if len(levels) > 1:
                known = value if value in levels else levels[0]  # e.g. the unused activation level of a float network
                params[name] = known if name == "pruning" else levels.index(known)
        return params

    def _values(self, trial: Trial) -> list[float]:
        costs = costs_of(trial)
        return [trial.measured.scores.miou, *(costs[name] for name in self._costs)]
