"""The downsets of a graph: bytes alive between a downset and the rest, and the downsets that every order shares.

A downset is a set of nodes closed under predecessors, held as a bit mask. Between two nodes of an order, the live
storages depend on the downset of the nodes that have run, and not on the order in which they did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Node:
    """One kernel call."""

    touches: frozenset[int]
    """Storages it reads or writes."""
    after: frozenset[int]
    """Nodes that must have run before it."""
    scratch_bytes: int = 0


class OrderState(NamedTuple):
    """The nodes that have run (a bit mask), the bytes alive between them and the rest, and the nodes that may run
    next."""

    done: int
    live_bytes: int
    ready: int


@dataclass(frozen=True, eq=False)
class OrderProblem:
    """Nodes and storages as bit masks over nodes."""

    nodes: Sequence[Node]
    size_bytes: Sequence[int]
    at_start: frozenset[int]
    at_end: frozenset[int]
    before: tuple[int, ...]
    """By node: all its predecessors, also indirect ones."""
    direct: tuple[int, ...]
    """By node: the nodes it names in `after`."""
    followers: tuple[int, ...]
    """By node: the nodes that name it in `after`."""
    touching: tuple[int, ...]
    """By storage: the nodes that touch it."""

    def start(self) -> OrderState:
        alive = [s for s in self.at_start if self.touching[s] or s in self.at_end]
        return OrderState(
            0, sum(self.size_bytes[s] for s in alive), sum(1 << v for v, mask in enumerate(self.direct) if not mask)
        )

    def run(self, state: OrderState, node: int) -> tuple[int, OrderState]:
        """(bytes alive while a ready node runs, the state after it)."""
        bit = 1 << node
        done = state.done | bit
        born = died = 0
        for s in self.nodes[node].touches:
            if not self.touching[s] & state.done and s not in self.at_start:
                born += self.size_bytes[s]
            if not self.touching[s] & ~done and s not in self.at_end:
                died += self.size_bytes[s]
        ready = state.ready ^ bit
        for follower in bits(self.followers[node]):
            if not self.direct[follower] & ~done:
                ready |= 1 << follower
        running = state.live_bytes + born
        return running + self.nodes[node].scratch_bytes, OrderState(done, running - died, ready)


def problem_of(
    nodes: Sequence[Node], size_bytes: Sequence[int], at_start: frozenset[int], at_end: frozenset[int]
) -> OrderProblem:
    """The masks of nodes given in an executable order.

    Raises:
        ValueError: a node is before one that it must run after.
    """
    before: list[int] = []
    direct: list[int] = []
    followers = [0] * len(nodes)
    touching = [0] * len(size_bytes)
    for index, node in enumerate(nodes):
        if any(not 0 <= other < index for other in node.after):
            raise ValueError(f"node {index} must run after {sorted(node.after)}, but the given order has it earlier")
        direct.append(sum(1 << other for other in node.after))
        mask = direct[-1]
        for other in node.after:
            mask |= before[other]
            followers[other] |= 1 << index
        before.append(mask)
        for storage in node.touches:
            touching[storage] |= 1 << index
    return OrderProblem(
        nodes, size_bytes, at_start, at_end, tuple(before), tuple(direct), tuple(followers), tuple(touching)
    )


def walk(problem: OrderProblem, sequence: Sequence[int]) -> tuple[list[OrderState], list[int]]:
    """The state before each node of an order, and the bytes alive while it runs."""
    state, states, peaks = problem.start(), [], []
    for node in sequence:
        states.append(state)
        peak, state = problem.run(state, node)
        peaks.append(peak)
    return states, peaks


def pieces_of(problem: OrderProblem) -> list[tuple[int, int]]:
    """Ranges [first, last) of the given order between the downsets through which every order passes."""
    cuts, common = [len(problem.nodes)], -1
    for k in range(len(problem.nodes) - 1, 0, -1):
        common &= problem.before[k]
        if not ((1 << k) - 1) & ~common:
            cuts.append(k)
    return list(zip([0, *cuts[:0:-1]], cuts[::-1], strict=True)) if problem.nodes else []


def bounds_of(problem: OrderProblem, piece: tuple[int, int], peaks: Sequence[int]) -> list[int]:
    """By node of a piece, bytes alive while it runs in every order: exact where the piece is that one node."""
    first, last = piece
    if last - first == 1:
        return [peaks[first]]
    behind = [0] * (last - first)
    for node in range(first, last):
        for other in bits(problem.before[node] >> first):
            behind[other] |= 1 << node
    bounds = []
    for node in range(first, last):
        forced = problem.nodes[node].scratch_bytes
        before, after = problem.before[node], behind[node - first] | -1 << last
        for s, touching in enumerate(problem.touching):
            began, ends_later = touching & before or s in problem.at_start, touching & after or s in problem.at_end
            if touching >> node & 1 or (began and ends_later):
                forced += problem.size_bytes[s]
        bounds.append(forced)
    return bounds


def bits(mask: int) -> Iterator[int]:
    """Positions of the set bits, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
