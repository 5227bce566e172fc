from pathlib import Path
def write_report(record, folder: Path) -> Path:
    return folder / "report.pdf"
