"""Requests to evaluators: answered by whatever is open, in another process, too."""

import pickle
import subprocess
import sys
from pathlib import Path

from standin_trial import StandInEvaluator, plan_of

from evaluation.measurement import MemoryFigures
from sweeps.config.constraints import planned_costs
from sweeps.config.space import BASELINE, Candidate
from sweeps.trial.evaluator import Evaluator
from sweeps.trial.requests import Evaluated, Request, costs_of_plan, evaluated, request, shown_image


def answer(asked: Request[object], tmp_path: Path) -> object:
    """As a worker finds it: after a pickle."""
    return pickle.loads(pickle.dumps(asked)).answer(StandInEvaluator(tmp_path / "log"))


def test_a_method_of_the_interface_is_that_of_the_open_evaluator(tmp_path: Path) -> None:
    stand_in, candidate = StandInEvaluator(tmp_path / "log"), Candidate(tile_count=4)
    assert answer(request(Evaluator.network_files, candidate), tmp_path) == stand_in.network_files(candidate)
    assert answer(request(Evaluator.describe), tmp_path) == stand_in.describe()
    assert answer(request(Evaluator.execution, candidate), tmp_path) == stand_in.execution(candidate)


def test_a_function_asks_the_open_evaluator_what_it_needs(tmp_path: Path) -> None:
    plan = plan_of(BASELINE)
    costs = planned_costs(MemoryFigures.of_plan(plan), plan.macs)
    assert answer(request(costs_of_plan, BASELINE), tmp_path) == costs
    shown = answer(request(shown_image, 2, (BASELINE, Candidate(tile_count=2))), tmp_path)
    assert (shown.image_id, len(shown.predictions)) == ("scene_0002", 2)


def test_a_candidate_that_is_over_a_limit_is_planned_only(tmp_path: Path) -> None:
    within = answer(request(evaluated, BASELINE, {"peak_memory_mb": 1000.0}, None), tmp_path)
    over = answer(request(evaluated, BASELINE, {"peak_memory_mb": 0.001}, None), tmp_path)
    assert isinstance(within, Evaluated)
    assert within.measurement is not None
    assert over.measurement is None
    assert (over.memory, over.macs, over.plan_json) == (within.memory, within.macs, within.plan_json)
    assert (tmp_path / "log").read_text().splitlines() == [str(BASELINE)]


def test_whoever_asks_loads_no_tensorflow() -> None:
    code = (
        "import pickle, sys; from sweeps.trial.evaluator import Evaluator, open_evaluator; "
        "from sweeps.trial.requests import request; from sweeps.workers.start import open_workers; "
        "pickle.dumps((open_evaluator, request(Evaluator.describe))); print('tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
