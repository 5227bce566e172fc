"""Stack bounds: derived from what a compiler wrote, never below what a run takes, and those of the table."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.c_program.stack_runs import VariantBuilder, variants
from deeplab.runtime import proof_build
from deeplab.runtime.compilers import compiler
from deeplab.runtime.emit import tables
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import prove
from deeplab.runtime.proof_build import Toolchain, native
from deeplab.runtime.stack_assembly import UnknownStackError, functions_of
from deeplab.runtime.stack_builds import FAMILIES, INSTRUCTION_SETS, PLAIN, compiler_for, instruction_set_of
from deeplab.runtime.stack_host import compiled_with_stack, kernel_uses_of, macros, stack_bound_of
from deeplab.runtime.stack_libraries import library_stack
from deeplab.runtime.stack_sources import pointers_of
from deeplab.runtime.stack_table import all_parts, derived_row
from deeplab.runtime.stack_usage import FLAGS, build_stack, unit_of
from evaluation.graph import Graph
from evaluation.kernels.contract import kernel_calls
from evaluation.kernels.stack_bounds import TABLE, BuildStack, KernelUse, read_table, stack_table, to_json
from evaluation.kernels.uses import kernel_uses
from evaluation.planner import CAMERA, MCU, plan
from tests.deeplab.float_networks import random_float_network
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")
HOST = "avx2" if compiler() is None else instruction_set_of(macros(native()))
X86 = """
	.type	leaf, @function
leaf:
	movl	%edi, -100(%rsp)
	ret
	.size	leaf, .-leaf
	.type	aligned, @function
aligned:
	pushq	%rbp
	movq	%rsp, %rbp
	andq	$-64, %rsp
	subq	$256, %rsp
	testl	%edi, %edi
	je	.L2
	pushq	$7
	pushq	$6
	call	leaf@PLT
	addq	$16, %rsp
.L2:
	call	*%rax
	leave
	ret
	.size	aligned, .-aligned
	.type	grows, @function
"""
ARM = """
	.type	outer, %function
outer:
	push	{r4, r5, r6, lr}
	vpush.64	{d8, d9}
	sub	sp, sp, #40
	bl	inner(PLT)
	add	sp, sp, #40
	blx	r3
	b	last
	.size	outer, .-outer
"""
ARM64 = """
	.type	outer, %function
outer:
	stp	x29, x30, [sp, -96]!
	sub	sp, sp, #1, lsl #12
	bl	inner
	br	x2
	.size	outer, .-outer
"""


def test_frames_and_calls_are_read_from_assembly():
    leaf, aligned = functions_of(X86, "x86_64")
    assert leaf.frame_bytes == 8 + 100  # what a leaf writes below the stack pointer
    assert (
        aligned.frame_bytes == 8 + 8 + 56 + 256 + 16
    )  # the return address, rbp, what aligning may cost, two arguments
    assert (aligned.callees, aligned.calls_pointer, aligned.jumps_indirectly) == ({"leaf"}, True, False)
    (outer,) = functions_of(ARM, "arm")
    assert (outer.frame_bytes, outer.callees, outer.calls_pointer) == (16 + 16 + 40, {"inner", "last"}, True)
    (outer,) = functions_of(ARM64, "aarch64")
    assert (outer.frame_bytes, outer.callees, outer.jumps_indirectly) == (96 + 4096, {"inner"}, True)


def test_a_stack_pointer_that_is_computed_is_refused():
    computed = "\t.type\tgrows, @function\ngrows:\n\tsubq\t%rax, %rsp\n\tret\n\t.size\tgrows, .-grows\n"
    with pytest.raises(UnknownStackError, match="grows: the stack pointer is changed"):
        functions_of(computed, "x86_64")


def test_a_call_through_a_pointer_reaches_the_functions_of_its_type_whose_address_is_taken():
    found = pointers_of(
        '# 1 "/usr/include/x.h" 1 3\ntypedef int other(long x);\n# 1 "own.c"\n'
        "typedef int fetch(struct walk *w, int part);\n"
        "struct walk { fetch *get; };\n"
        "static int one(struct walk *w, int n) { return n; }\n"
        "static int caller(struct walk *w, int part) { return w->get(w, part); }\n"
        "static int over(struct walk *w, long x) { w->get = one; return caller(w, 1); }\n"
    )
    assert found.types == {"fetch": {"one", "caller"}}
    assert found.taken & found.types["fetch"] == {"one"}
    assert (found.used["caller"], found.used["over"], found.used["one"]) == ({"fetch"}, {"fetch"}, set())


def compiled(folder: Path, text: str):
    source = folder / "source.c"
    source.write_text(f"typedef void kernel(const void *layer, int *x);\n{text}")
    subprocess.run(
        [compiler(), "-O1", *FLAGS, "-c", "-o", str(folder / "source.o"), str(source)], check=True, cwd=folder
    )
    return unit_of(folder / "source.o", "x86_64", return_address_bytes=8)


@needs_compiler
@pytest.mark.skipif(HOST not in ("sse2", "avx2", "avx512"), reason="needs an x86-64 processor")
def test_recursion_and_growing_frames_are_refused(tmp_path):
    entry = "void run_few(void) {} void run_many(void) {} void network_infer(void) { run_few(); run_many(); }\n"
    recursive = compiled(
        tmp_path, entry + "void again(const void *l, int *x) { volatile int y[9]; y[x[0]] = 1;"
        " if (x[1]) again(l, x + y[0]); x[2] = y[1]; }"
    )  # fmt: skip
    with pytest.raises(UnknownStackError, match="again: calls itself"):
        build_stack(recursive, [recursive], {})
    unknown = compiled(tmp_path, entry + "int far(int *); void k(const void *l, int *x) { x[0] = far(x) + 1; }")
    with pytest.raises(UnknownStackError, match="far: is called"):
        build_stack(unknown, [unknown], {})
    assert build_stack(unknown, [unknown], {"far": 1000}).kernels["k"] > 1000
    with pytest.raises(UnknownStackError):
        compiled(tmp_path, "int f(int n) { volatile int x[n]; x[0] = n; return x[n - 1]; }")


@needs_compiler
@pytest.mark.skipif(HOST not in ("sse2", "avx2", "avx512"), reason="needs an x86-64 processor")
def test_functions_of_libraries_are_disassembled():
    assert 8 <= library_stack(["memcpy"], [compiler()], "x86_64")["memcpy"] < 200
    with pytest.raises(UnknownStackError, match="in none of the static libraries"):
        library_stack(["no_such_function"], [compiler()], "x86_64")


def test_the_larger_of_two_builds_counts_and_an_unknown_kernel_as_the_largest():
    one, other = BuildStack(100, 500, {"a": 10, "b": 50}), BuildStack(120, 400, {"a": 20})
    both = one.joined(other)
    assert (both.few_bytes, both.many_bytes, both.kernels) == (120, 500, {"a": 20, "b": 50})
    assert both.bound_bytes([KernelUse("a", 3)]) == 140
    assert both.bound_bytes([KernelUse("a", 3), KernelUse("b", 4), KernelUse("a", 5)]) == 520
    assert both.bound_bytes([KernelUse("new", 2)]) == 170


def test_the_table_is_read_as_it_was_written(tmp_path):
    (tmp_path / "table.json").write_text(to_json(stack_table()))
    assert read_table(tmp_path / "table.json") == stack_table()
    assert (tmp_path / "table.json").read_text() == TABLE.read_text()
    assert set(stack_table().rows) == set(INSTRUCTION_SETS)
    for name, rows in stack_table().rows.items():
        assert {row.compiler.split()[0] for row in rows} == set(FAMILIES), name
    kernels = {kernel for rows in stack_table().rows.values() for row in rows for kernel in row.stack.kernels}
    assert all(set(row.stack.kernels) == kernels for rows in stack_table().rows.values() for row in rows)


OWN = HOST if HOST in INSTRUCTION_SETS else "avx2"


def listed_bound(name: str, version: str) -> BuildStack:
    """The row of a compiler; the test is skipped where its version is not in the table."""
    rows = [row.stack for row in stack_table().rows[name] if row.compiler == version]
    if not rows:
        pytest.skip(f"{version} is not in the table for {name}; add it: python -m deeplab.runtime.stack_table {name}")
    return rows[0]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("cortex-m7", "clang"),
        (OWN, "gcc"),
        pytest.param("cortex-m7", "gcc", marks=pytest.mark.slow),
        pytest.param(OWN, "clang", marks=pytest.mark.slow),
    ],
)
def test_what_is_derived_again_is_within_the_table(name, family):
    """A few kernels of those that need the least time, each compiler once; all of them: the next test."""
    found = compiler_for(family, INSTRUCTION_SETS[name])
    if found is None:
        pytest.skip(f"needs {INSTRUCTION_SETS[name].prefix}gcc and {family}")
    known = listed_bound(name, found.name)
    made = derived_row(
        INSTRUCTION_SETS[name], found, ("int8/argmax", "int8/copy", "int8/depthwise"), together=False
    ).stack
    assert set(made.kernels) == {"argmax", "copy", "depthwise"}
    assert (made.few_bytes, made.many_bytes) <= (known.few_bytes, known.many_bytes)
    assert all(0 < size <= known.kernels[kernel] for kernel, size in made.kernels.items())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_the_table_derived_again_is_equal(name, family):
    found = compiler_for(family, INSTRUCTION_SETS[name])
    if found is None:
        pytest.skip(f"needs {INSTRUCTION_SETS[name].prefix}gcc and {family}")
    known = listed_bound(name, found.name)
    made = derived_row(INSTRUCTION_SETS[name], found)
    assert made.stack == known
    assert len(made.stack.kernels) >= len(all_parts())


NETWORKS = {
    "int8": lambda: tiny_graph(),
    "4-bit weights": lambda: tiny_graph(4, 8),
    "6-bit activations": lambda: tiny_graph(4, 6),
    "16-bit activations": lambda: tiny_graph(8, 16),
    "float": lambda: random_float_network(3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernels_that_are_emitted_are_among_those_that_the_planner_counts(name):
    graph = NETWORKS[name]()
    counted = kernel_uses(graph, kernel_calls(graph))
    assert kernel_uses_of(tables(graph, plan(graph, 4))) <= counted
    assert "" not in {use.kernel for use in counted}


@pytest.mark.parametrize(
    "name", ["6-bit activations", *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS)]
)
def test_a_networks_own_choice_of_kernels_is_within_the_table(name, tmp_path):
    """What a compiler makes of shared functions depends on the kernels that share them."""
    board = compiler_for("gcc", INSTRUCTION_SETS["cortex-m7"])
    if board is None:
        pytest.skip("needs arm-none-eabi-gcc")
    listed_bound("cortex-m7", board.name)
    flags = (*PLAIN, *INSTRUCTION_SETS["cortex-m7"].processors[0], "-O3")
    toolchain = Toolchain(board.linker, flags, nm="arm-none-eabi-nm")
    graph = NETWORKS[name]()
    uses = kernel_uses_of(write_sources(graph, plan(graph, 4, MCU), tmp_path))
    objects = [compiled_with_stack(tmp_path / f"{part}.c", toolchain) for part in ("network", "kernels")]
    bound = stack_bound_of(objects, uses, toolchain)
    table = stack_table().bound_bytes("cortex-m7", uses, board.name)
    assert 0.7 * table < bound <= table


@needs_compiler
def test_a_stack_beyond_its_bound_is_a_fault(tmp_path):
    """Kernels that take 4 kB more than was derived: the object file is exchanged after it was analysed."""
    graph, toolchain = tiny_graph(), native(("-std=c99", "-O1", "-ffp-contract=off"))
    before = set(Path().iterdir())

    def exchanged(source: Path) -> Path:
        compiled_with_stack(source, toolchain, "-DNETWORK_PROOF")
        text, body = source.read_text(), "void run_sections(const struct section *sections, int count"
        start = text.index("{", text.index(body)) + 1
        deep = "volatile uint8_t deep[4096]; deep[0] = 1; deep[count] = deep[0];"
        source.write_text(text[:start] + deep + text[start:])
        return proof_build.compiled(source, toolchain, "-DNETWORK_PROOF")

    proof = prove(
        graph, plan(graph, 4, CAMERA), [camera_frame(5)], tmp_path, runs=1, toolchain=toolchain,
        compile_kernels=exchanged, bound_stack=True,
    )  # fmt: skip
    assert len(proof.faults) == 1
    assert f"its bound is {proof.stack_bound_bytes}" in proof.faults[0]
    assert proof.measured.stack_bytes > proof.stack_bound_bytes + 3000
    assert set(Path().iterdir()) == before  # what compilers write along the way is not left where the user stands


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "instruction_set", [name for name, one in INSTRUCTION_SETS.items() if "none" not in one.prefix]
)
def test_every_variant_is_within_its_bound(instruction_set, family, tmp_path):
    found, missing = variants()
    built = [v for v in found if v.instruction_set == instruction_set and v.compiler.startswith(family)]
    if not built:
        pytest.skip(next(why for why in missing if why.startswith(f"{instruction_set}, {family}:")))
    proofs = {}
    for name, network in NETWORKS.items():
        graph = network()
        (tmp_path / name).mkdir()
        proofs[name] = VariantBuilder(built[0], tmp_path / name).prove(graph, plan(graph, 4, CAMERA), [an_input(graph)])
        assert proofs[name].is_within, name
    # Over all networks: one alone may not take the deepest of its paths.
    assert max(p.bound_bytes for p in proofs.values()) < 1.25 * max(p.stack_bytes for p in proofs.values())


def an_input(graph: Graph) -> np.ndarray:
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.dtype == "uint8":
        return camera_frame(5)
    return np.random.default_rng(5).normal(size=tensor.shape).astype(tensor.dtype)
