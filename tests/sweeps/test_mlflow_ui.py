"""The study as a user browses it: MLflow's own pages in a headless browser, after a sweep with the stand-in trial.

PETITLAB_SCREENSHOTS names a folder that takes an image of every page, to be looked at.
"""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from standin_sweeps import CONFIG, DOCUMENTS, sweep

from sweeps.config.load import load_config
from tests.waiting import wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)"),
    pytest.mark.long,
]
PATIENCE_MS = 45_000


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, empty_store: Path):
    """(record, address of the server, experiment, run ids by name) of a small study."""
    folder = tmp_path_factory.mktemp("ui")
    former = Path.cwd()
    os.chdir(folder)
    try:
        (folder / "config.yaml").write_text(CONFIG)
        shutil.copyfile(empty_store, folder / "mlflow.db")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # The server takes seconds to start, and does so during the sweep.
            record = sweep(load_config(folder / "config.yaml", [DOCUMENTS]))
            client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
            experiment = client.get_experiment_by_name("stand-in").experiment_id
            runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
            health = f"http://127.0.0.1:{port}/health"
            wait_until(lambda: _answers(health), 120, f"MLflow answers at {health}")
            yield record, f"http://127.0.0.1:{port}", experiment, runs
        finally:
            server.terminate()
            server.wait(30)
    finally:
        os.chdir(former)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).read()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        # One context, so that MLflow's scripts are loaded once; without what it keeps of earlier visits to a table.
        context = opened.new_context(viewport={"width": 1600, "height": 1000})
        context.add_init_script("localStorage.clear(); sessionStorage.clear()")
        yield context
        opened.close()


@pytest.fixture
def page(browser, request) -> Iterator:
    opened = browser.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    if folder := os.environ.get("PETITLAB_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        opened.screenshot(path=Path(folder) / f"{request.node.name}.png")
    opened.close()


def _follow(page, address: str, name: str) -> None:
    """Open what a link of the description leads to; MLflow would open it in a tab of its own."""
    link = page.get_by_role("link", name=name, exact=True).first
    link.wait_for()
    page.goto(f"{address}/{link.get_attribute('href')}")


def test_the_studys_page_leads_to_a_table_of_its_trials(study, page) -> None:
    record, address, experiment, runs = study
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs['stand-in']}")
    _follow(page, address, "all trials")
    for trial in record.trials:
        page.get_by_role("link", name=trial.label).first.wait_for()
    page.get_by_text(f"{len(record.trials)} matching runs").wait_for()


def test_and_to_charts_of_accuracy_and_memory(study, page) -> None:
    _, address, experiment, runs = study
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs['stand-in']}")
    _follow(page, address, "as charts")
    page.get_by_placeholder("Search metric charts").fill("miou|peak_memory_mb")
    for metric in ("miou", "peak_memory_mb"):
        page.get_by_text(metric, exact=True).first.wait_for()
    page.locator(".js-plotly-plot").first.wait_for()


def test_and_to_the_front_alone(study, page) -> None:
    record, address, experiment, runs = study
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs['stand-in']}")
    _follow(page, address, "the front only")
    page.get_by_text(f"{sum(map(len, record.front))} matching runs").wait_for()


@pytest.mark.slow
def test_the_experiment_shows_the_study_and_how_many_runs_it_has(study, page) -> None:
    record, address, experiment, _ = study
    page.goto(f"{address}/#/experiments/{experiment}/runs")
    page.get_by_role("link", name="stand-in").first.wait_for()
    page.get_by_text(f"{len(record.trials) + 1} matching runs").wait_for()


@pytest.mark.slow
def test_two_trials_can_be_compared(study, page) -> None:
    record, address, experiment, runs = study
    pair = [runs[trial.label] for trial in record.trials[:2]]
    listed = ",".join(f'"{run}"' for run in pair)
    page.goto(f'{address}/#/compare-runs?runs=[{listed}]&experiments=["{experiment}"]')
    for name in ("weight_bits", "tile_count", "miou"):
        page.get_by_text(name, exact=True).first.wait_for()


def test_the_studys_page_leads_to_the_choice_and_back(study, page) -> None:
    record, address, experiment, runs = study
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs['stand-in']}")
    _follow(page, address, record.choice.label)
    page.get_by_text(record.choice.name).first.wait_for()
    page.locator(f"a[href*='runs/{runs['stand-in']}']").first.wait_for()


@pytest.mark.parametrize("artifact", ["front.html", "report.pdf"])
def test_the_artifacts_render(study, page, artifact) -> None:
    _, address, experiment, runs = study
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs['stand-in']}/artifacts/{artifact}")
    if artifact == "front.html":
        page.frame_locator("iframe").locator(".js-plotly-plot .point").first.wait_for()
    else:
        page.locator("canvas").first.wait_for()


def test_a_point_of_the_front_shows_its_plan_as_a_drawing(study, page) -> None:
    record, address, experiment, runs = study
    label = record.trial(record.front[0][0]).label
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs[label]}/artifacts/plan/{label}.svg")
    page.get_by_alt_text(f"plan/{label}.svg").wait_for()
