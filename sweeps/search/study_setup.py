"""The search of a configuration."""

from __future__ import annotations

from sweeps.config.constraints import planned_limits
from sweeps.config.schema import SweepConfig
from sweeps.search.ehvi import Acquisition, Costs
from sweeps.search.optuna_study import Study
from sweeps.storage.coordinator import Coordinator


def open_study(config: SweepConfig, coordinator: Coordinator) -> Study:
    """Open the study that a configuration describes."""
    search, space = config.search, config.space.space()
    seed = coordinator.own_seed(config.seed)
    acquisition = Acquisition(rough_costs(config), planned_limits(config.constraints), config.constraints.miou_drop)
    return Study(coordinator, config.study, space, search.sampler_name, seed, search.costs, acquisition)


def rough_costs(config: SweepConfig) -> Costs:
    """Estimated times of a trial's stages, in seconds for a small network on two cores; only their ratios matter."""
    network = 2.0 + 0.1 * config.quantization.aware_steps + 15.0 * (config.quantization.rounding == "learned")
    return Costs(network=network, prune=2.0 + 0.08 * config.finetune.steps)
