"""`python -m deeplab.runtime.headers`: writes the headers of `c/` that `evaluation.kernels` declares."""

from __future__ import annotations

from deeplab.runtime.sources import SOURCES
from evaluation.kernels.headers import header_texts


def main() -> None:
    """Write every generated header that is missing or says something else."""
    for name, text in header_texts().items():
        path = SOURCES / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path)


if __name__ == "__main__":
    main()
