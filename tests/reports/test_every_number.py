"""Every number in the PDF is the record's: section by section, all that are printed and no other.

What should stand there is worked out here once more, from the record alone, without the code that writes the page.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evaluation.accuracy import (
    Scores,
    bootstrap_interval,
    image_weights,
    paired_difference_interval,
    resampled_mious,
)
from evaluation.other_runtimes import Runtime
from reports.document import write_report
from reports.glossary import WORDS
from reports.record import State, StudyRecord, Trial
from reports.record_file import read_record, write_record
from tests.pdf_text import page_texts

COMPLETE, PRUNED, FAILED = State.COMPLETE, State.PRUNED, State.FAILED
NUMBER = re.compile(r"(?<![\w.])[\u2212+\u00b1]?\d+(?:\.\d+)?")
SECTIONS = (
    "Warnings", "Every trial in the plane", "Best under each budget", "The front",
    "The C program of each point", "Savings by technique", "Comparison with other runtimes", "Memory and time",
    "Progress of the search", "Memory over the schedule", "The largest buffers", "Predicted classes", "IoU by class",
    "All trials", "Glossary", "Reproduction", "The configuration, defaults filled in",
)  # fmt: skip


def sections(pdf: Path) -> dict[str, str]:
    """The text under each heading, without the running heads; "" is the first page's up to its first heading."""
    lines: list[str] = []
    for page in page_texts(pdf):
        text = re.sub(r"[\u202f\u00a0]", " ", page)
        lines += [line for line in text.splitlines() if not re.match(r"petitlab study|\d+ / \d+$", line)]
    found, name = {"": ""}, ""
    for line in lines:
        heading = next((h for h in SECTIONS if line.strip() == h or (h == SECTIONS[1] and line.startswith(h))), None)
        if heading is not None:
            name, found[heading] = heading, ""
        else:
            found[name] += line + "\n"
    return found


def numbers(*texts: object) -> Counter:
    return Counter(number for text in texts for number in NUMBER.findall(str(text)))


def mb(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.3f} MB"


def change(value: float) -> str:
    text = f"{abs(value):.3f}"
    return "\u00b10.000" if text == "0.000" else ("\u2212" if value < 0 else "+") + text


def both(interval, written) -> str:
    return f"{written(interval.lower)} to {written(interval.upper)}"


def plain(value: float) -> str:
    return f"{value:.3f}"


def spaced(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def whole(share: float) -> str:
    rounded = f"{100 * share:.0f}"
    return "1" if 0 < share < 0.01 else "99" if 0.99 < share < 1 else rounded


def exact(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.9999 else f"{100 * share:.3f}"


def label(trial: Trial) -> str:
    return f"{trial.number:03d}"


class Oracle:
    """What each section should say, as strings whose numbers are compared."""

    def __init__(self, record: StudyRecord, folder: Path) -> None:
        self.record, self.folder = record, folder
        self.front = [[record.trial(n) for n in equal] for equal in record.front]
        self.base, self.choice = record.trial(0), record.trial(record.chosen)
        self.seed = record.config["seed"]
        self.shares = self.on_front_shares()

    def scores(self, trial: Trial) -> Scores:
        return trial.measurement.scores

    def peak(self, trial: Trial) -> int:
        memory = trial.measurement.memory
        return memory.arena_bytes + memory.weights_bytes + memory.runtime_bytes

    def miou(self, scores: Scores) -> float:
        table = scores.confusions.sum(axis=0)
        hit = np.diag(table)
        iou = hit / (table.sum(axis=0) + table.sum(axis=1) - hit)
        return float(np.mean([iou[c] for c in scores.scored_classes]))

    def on_front_shares(self) -> dict[int, float]:
        trials = [t for t in self.record.trials if t.feasible]
        weights = image_weights(len(self.scores(trials[0]).image_ids), 1000, self.seed)
        mious = {t.number: resampled_mious(self.scores(t), weights) for t in trials}
        held = {}
        for one in trials:
            beaten = np.zeros(1000, bool)
            for other in trials:
                cheaper, as_good = self.peak(other) < self.peak(one), mious[other.number] >= mious[one.number]
                better = mious[other.number] > mious[one.number]
                beaten |= (as_good & cheaper) | (better & (self.peak(other) <= self.peak(one)))
            held[one.number] = 1 - beaten.mean()
        return held

    def hypervolume(self) -> float:
        points = sorted((self.peak(t), self.miou(self.scores(t))) for equal in self.front for t in equal[:1])
        edges = [peak for peak, _ in points] + [self.peak(self.base)]
        return sum((after - before) * points[i][1] for i, (before, after) in enumerate(pairwise(edges))) / edges[-1]

    def first_page(self) -> list[str]:
        choice, base, seed = self.choice, self.base, self.seed
        scores, heldout = self.scores(choice), self.record.heldout
        gone = paired_difference_interval(scores, self.scores(base), seed=seed)
        unseen = paired_difference_interval(heldout[choice.number], heldout[0], seed=seed)
        lost = self.miou(scores) - self.miou(self.scores(base))
        held_lost = self.miou(heldout[choice.number]) - self.miou(heldout[0])
        times = f"{self.peak(base) / self.peak(choice):.1f}x smaller"
        latency, limit = choice.measurement.latency, self.record.config["constraints"]["peak_memory_mb"]
        free = limit * 1e6 - self.peak(choice)
        said = [mb(self.peak(choice)), "" if self.exceeds(choice) else times, choice.name, f"trial-{label(choice)}"]
        said += [mb(self.peak(choice)), "baseline", mb(self.peak(base))]
        said += [f"on {len(scores.image_ids)} search images, {len(scores.scored_classes)} classes"]
        said += [plain(self.miou(scores)), "95 %", both(bootstrap_interval(scores, seed=seed), plain)]
        said += [plain(self.miou(self.scores(base))), change(lost), "95 %", both(gone, change)]
        said += [f"On {len(heldout[choice.number].image_ids)} held-out", plain(self.miou(heldout[choice.number]))]
        said += [both(bootstrap_interval(heldout[choice.number], seed=seed), plain), change(held_lost)]
        said += [both(unseen, change), mb(limit * 1e6), mb(free), f"{whole(free / (limit * 1e6))} %"]
        said += [f"{whole(self.shares[choice.number])} %", f"{latency.program_ms:.1f} ms"]
        said += [f"{latency.program_ms / latency.untiled_ms:.2f} times", "fewer than 20 images"]
        said += [self.excess(choice)] if self.exceeds(choice) else []
        for trial in (base, choice):
            memory, cost = trial.measurement.memory, trial.measurement.cost
            said += [mb(memory.arena_bytes), mb(memory.weights_bytes), mb(memory.runtime_bytes), mb(self.peak(trial))]
            said += [spaced(round(cost.macs / 1e6)), spaced(cost.parameters), f"{exact(cost.mac_overhead)} %"]
        return [*said, "106"]  # "MB = 10^6 bytes" once more: ten to the six reads so when it is extracted

    def exceeds(self, trial: Trial) -> bool:
        seen = self.record.executions[trial.number]
        return seen.stack_bytes > seen.stack_bound_bytes

    def excess(self, trial: Trial) -> str:
        seen = self.record.executions[trial.number]
        taken, bound = seen.stack_bytes, seen.stack_bound_bytes
        return f"{taken:,} bytes, {taken - bound:,} over its bound of {bound:,}"

    def health(self) -> list[str]:
        failed = [trial for trial in self.record.trials if trial.state is FAILED]
        tried, seen = len(self.record.trials), self.record.executions[self.choice.number]
        images = len(self.scores(self.base).image_ids), len(self.record.heldout[0].image_ids)
        said = [f"Only {images[0]} search and {images[1]} held-out images, fewer than 20"]
        over = [equal[0] for equal in self.front if self.exceeds(equal[0])]
        said += [f"trial-{label(trial)} {self.excess(trial)}" for trial in over]
        if over and over != [self.choice]:
            said += [f"{len(over)} of {len(self.front)} points"]
        said += [f"Only {tried} of {self.record.space_size}"]
        if failed:
            said += [f"{len(failed)} of {tried} failed", *map(label, failed)]
        first = self.front[0][0]
        tiles = max(self.record.config["space"]["tile_count"])
        if first.params["tile_count"] == tiles:
            said += [f"at the edge: tile_count {tiles}"]
        return [*said, f"{exact(seen.label_agreement)} % of the selected configuration's labels"]

    def plane(self) -> list[str]:
        said = [f"All {len(self.record.trials)} trials; its {len(self.front)} points", "95 %", "fewer than 20 images"]
        return [*said, f"{self.hypervolume():.4f} from mIoU 0 to mIoU 1 at 0 MB"]

    def budgets(self) -> list[str]:
        said, points = [], [equal[0] for equal in self.front]
        for step in [float(f"{m}e{e}") for e in range(-3, 3) for m in (1, 1.5, 2, 3, 5, 7)]:
            fits = [t for t in points if self.peak(t) <= step * 1e6]
            if not fits:
                continue
            best = max(fits, key=lambda t: self.miou(self.scores(t)))
            score = self.miou(self.scores(best))
            said += [mb(step * 1e6), label(best), best.name, mb(self.peak(best))]
            said += [f"{whole(1 - self.peak(best) / (step * 1e6))} %", plain(score)]
            said.append(change(score - self.miou(self.scores(self.base))))
            if len(fits) == len(points):
                break
        return said

    def front_table(self) -> list[str]:
        states = Counter(trial.state for trial in self.record.trials)
        said = [f"{len(self.record.trials)} distinct of {self.record.space_size}: {states[COMPLETE]} complete"]
        said += [f"{sum(t.feasible for t in self.record.trials)} feasible; {states[PRUNED]} pruned"]
        said += [f"({states[PRUNED]} by a plan over a limit)" if states[PRUNED] else "", f"{states[FAILED]} failed"]
        for equal in self.front:
            first, memory = equal[0], equal[0].measurement.memory
            heldout = self.record.heldout[first.number]
            said += [*map(label, equal), *(trial.name for trial in equal), mb(self.peak(first)), mb(memory.arena_bytes)]
            said += [mb(memory.weights_bytes), plain(self.miou(self.scores(first)))]
            said += [both(bootstrap_interval(self.scores(first), seed=self.seed), plain)]
            said += [f"{whole(self.shares[first.number])} %", plain(self.miou(heldout))]
            said += [both(bootstrap_interval(heldout, seed=self.seed), plain)]
        return [*said, "95 % and 95 %, of the table's head", "fewer than 20 images"]

    def programs(self) -> list[str]:
        said = [f"on {next(iter(self.record.executions.values())).images} search images"]
        for equal in self.front:
            seen, latency = self.record.executions[equal[0].number], equal[0].measurement.latency
            said += [label(equal[0]), equal[0].name, spaced(seen.arena_bytes), spaced(seen.high_water_bytes)]
            said += [spaced(seen.stack_bytes), spaced(seen.stack_bound_bytes), f"{exact(seen.label_agreement)} %"]
            said += [f"{latency.program_ms:.1f}", f"{latency.program_ms / latency.untiled_ms:.2f}"]
            said += [f"{label(equal[0])}: {self.excess(equal[0])}"] if self.exceeds(equal[0]) else []
        return said

    def savings(self) -> list[str]:
        other_runtimes, chain = self.record.other_runtimes[0], self.record.chain
        use = next(use for use in other_runtimes.uses if use.runtime is Runtime.LITERT_BUILTIN)
        theirs = use.arena_bytes + other_runtimes.file_bytes
        sizes = [theirs, *(step.memory.peak_memory_bytes for step in chain)]
        said = ["Liu & Olsson 2019", "2.8", "8.5 (170 MB to 20 MB)"]
        there = {"pruning": "1.5", "bits": "2"}
        for (before, after), step in zip(pairwise(sizes), chain, strict=True):
            said += [there.get(step.what, ""), f"{before / after:.2f}", mb(after), plain(step.miou)]
        return [*said, f"{sizes[0] / sizes[-1]:.1f}", mb(sizes[-1]), plain(chain[-1].miou)]

    def runtimes(self) -> list[str]:
        said = []
        for number, other_runtimes in self.record.other_runtimes.items():
            trial, memory = self.record.trial(number), self.record.trial(number).measurement.memory
            said += [trial.name, mb(memory.arena_bytes), mb(memory.weights_bytes), mb(memory.runtime_bytes)]
            said += [mb(self.peak(trial)), "1"]
            for use in other_runtimes.uses:
                said += [mb(use.arena_bytes), mb(other_runtimes.file_bytes)]
                total = use.resident_bytes
                if use.runtime is Runtime.TFLM:
                    said.append(mb(use.persistent_bytes))
                    total = use.arena_bytes + use.persistent_bytes + other_runtimes.file_bytes
                said += [mb(total), f"{total / self.peak(trial):.1f}"]
        return said

    def alive(self) -> list[str]:
        said = []
        for trial in (self.base, self.choice):
            plan = json.loads((self.folder / trial.plan_file).read_text())
            high = plan["high_water_step"]
            said += [f"at step {high} of {len(plan['live_bytes'])}"]
            said += [spaced(b["size_bytes"]) for b in plan["buffers"] if b["lower"] <= high < b["upper"]]
        return said

    def largest(self) -> list[str]:
        said = []
        for trial in (self.base, self.choice):
            plan = json.loads((self.folder / trial.plan_file).read_text())
            for buffer in sorted(plan["buffers"], key=lambda buffer: -buffer["size_bytes"])[:6]:
                size, first, last = buffer["size_bytes"], buffer["lower"], buffer["upper"] - 1
                said += [spaced(size), f"{exact(size / plan['arena_bytes'])} %"]
                said += [f"{first}\u2013{last}" if last > first else str(last)]
        return said

    def images(self) -> list[str]:
        return [f"{row.image_id} {row.note}" for row in self.record.overlays]

    def trials(self) -> list[str]:
        said = []
        for trial in self.record.trials:
            memory, measured = (trial.measurement and trial.measurement.memory) or trial.planned, trial.measurement
            said += [label(trial), trial.name, mb(memory.peak_memory_bytes) if memory else ""]
            said += [plain(self.miou(measured.scores)) if measured else "", trial.reason or ""]
        return said

    def reproduction(self) -> list[str]:
        record, environment = self.record, self.record.environment
        minutes, seconds = divmod(round(environment.seconds), 60)
        check, data = record.import_check, record.data
        said = [environment.command, environment.git_commit, f"seed {self.seed}", environment.started]
        said += [f"took {minutes} min {seconds} s", environment.machine, *environment.versions.values()]
        said += [f"{data.search_images} for the search, {data.heldout_images} held out"]
        said += [
            f"{check.miou:.3f} on {check.images} images",
            f"{check.expected_miou:.3f} \u00b1 {check.tolerance}",
        ]
        return [*said, *(value[:24] for value in data.fingerprints.values())]

    def words(self) -> list[str]:
        return [text for one in WORDS if one.in_report for text in (one.word, one.meaning)]

    def configuration(self) -> list[str]:
        config = self.record.config
        return [str(config["seed"]), *map(str, config["space"]["tile_count"]),
                str(config["constraints"]["peak_memory_mb"])]  # fmt: skip

    def all(self) -> dict[str, list[str]]:
        parts = (
            self.first_page, self.health, self.plane, self.budgets, self.front_table, self.programs, self.savings,
            self.runtimes, lambda: [], lambda: ["from mIoU 0 to mIoU 1 at 0 MB"], self.alive, self.largest,
            self.images, lambda: [], self.trials, self.words, self.reproduction, self.configuration,
        )  # fmt: skip
        return {name: part() for name, part in zip(("", *SECTIONS), parts, strict=True)}


LIMIT = {"constraints": {"peak_memory_mb": 1.9}}


@pytest.mark.parametrize("states", [[COMPLETE] * 6, [COMPLETE, COMPLETE, PRUNED, COMPLETE, FAILED, COMPLETE]])
def test_every_number_is_the_records_and_none_is_missing(study, tmp_path: Path, states: list[State]) -> None:
    made = study(*states)
    config = made.config | LIMIT
    over = [made.chosen, made.front[-1][0]] if FAILED in states else []
    executions = {n: replace(e, stack_bytes=2000) if n in over else e for n, e in made.executions.items()}
    record = replace(made, config=config, executions=executions)
    write_record(record, tmp_path)
    found = sections(write_report(read_record(tmp_path), tmp_path))
    expected = Oracle(record, tmp_path).all()
    assert set(found) == set(expected)
    for name, said in expected.items():
        printed, wanted = numbers(found[name]), numbers(*said)
        assert printed == wanted, f"{name!r}: not the record's {printed - wanted}, missing {wanted - printed}"
