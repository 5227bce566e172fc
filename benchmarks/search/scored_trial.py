"""Trials that end with their accuracy and their plan: no program is timed.

What is left is what a search is steered by, so that it can be timed next to a loop that has nothing else.
"""

from __future__ import annotations

from deeplab.network import parameters
from evaluation.measurement import Cost, Measurement, MemoryFigures
from reports.record import Early, OtherRuntimes
from sweeps.config.space import Candidate
from sweeps.trial.network_evaluator import NetworkEvaluator
from sweeps.trial.screening import InterimCheck
from sweeps.trial.stages import compressed, scores_until, shipped


class ScoringEvaluator(NetworkEvaluator):
    """The real evaluator, less what follows a network's scores."""

    def evaluate(self, candidate: Candidate, check: InterimCheck = lambda *_: None) -> Measurement | Early:
        self.context.seconds = {}
        found = shipped(candidate.compression, candidate.tile_count, self.context)
        with self.context.timed("score"):
            on_search = scores_until(found, self.context, "search", check)
        if isinstance(on_search, Early):
            return on_search
        cost = Cost(found.plan.macs, found.plan.mac_overhead, parameters(found.graph))
        return Measurement(on_search, MemoryFigures.of_plan(found.plan), cost, stage_seconds=dict(self.context.seconds))

    def other_runtimes(self, candidate: Candidate) -> OtherRuntimes:
        return OtherRuntimes(None, (), "no other runtime is asked in this benchmark")

    def network_files(self, candidate: Candidate) -> dict[str, bytes]:
        return {}

    def execution(self, candidate: Candidate) -> str:
        return "no program is run in this benchmark"


class LoopEvaluator(ScoringEvaluator):
    """The same as a loop of a user's own would do it: scored in TensorFlow."""

    def evaluate(self, candidate: Candidate, check: InterimCheck = lambda *_: None) -> Measurement:
        from benchmarks.search.tensorflow_scorer import simulator

        network = compressed(candidate.compression, self.context)
        on_search = simulator(network).score(network, self.context.images.dataset, self.context.search)
        made = self.plan_candidate(candidate)
        cost = Cost(made.macs, made.mac_overhead, parameters(network))
        return Measurement(on_search, MemoryFigures.of_plan(made), cost)
