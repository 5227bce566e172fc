"""The planner's data: plans, storage graphs and loops over tiles."""
