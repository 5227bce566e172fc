"""`python -m petitlab COMMAND`, as the console script."""

from petitlab.cli import main

if __name__ == "__main__":
    main("python -m petitlab")
