"""A launch with the stand-in trial, as a process of its own: CONFIG [--resume] [key=value ...]."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[2])]

if __name__ == "__main__":
    from rich.console import Console
    from standin_trial import open_evaluator

    from evaluation.errors import exits_on_user_error
    from sweeps.config.load import load_config
    from sweeps.sweep import run_sweep
    from sweeps.workers.output import Output

    @exits_on_user_error
    def main() -> None:
        file, *rest = sys.argv[1:]
        config = load_config(file, [word for word in rest if word != "--resume"])
        run_sweep(config, "--resume" in rest, Console(file=Output()), open_evaluator)

    main()
