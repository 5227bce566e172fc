"""The folder that is handed on: what is in it, that it builds and runs, and that no image upsets it."""

import json
import re
import shutil
import signal
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit

import numpy as np
import pytest
from PIL import Image

from deeplab.runtime.bundle import SUMS, write_bundle
from deeplab.runtime.compilers import compiler
from deeplab.runtime.saved_plan import read_plan
from evaluation.errors import UserError
from evaluation.graph import read_tflite
from evaluation.interpreter import execute
from evaluation.planner import CAMERA, MCU, Target, plan
from tests.deeplab.segmenter import COLUMNS, ROWS, frames, segmenter
from tests.evaluation.plans_by_hand import Network

ADE20K = "weights/deeplabv3_mnv2_ade20k_int8.tflite"
IMAGES = "data/ade20k_subset/images"
FILES = {"network.h", "network.c", "kernels.h", "kernels.c", "main.c", "Makefile", "plan.json", "README.md", SUMS}
QUICK = "-O1 -Wall -Wextra -Werror -Wno-unused-function"
SANITIZED = f"{QUICK} -g -fsanitize=address,undefined -fno-sanitize-recover=all"

needs_compiler = pytest.mark.skipif(
    compiler() is None or shutil.which("make") is None, reason="needs a C compiler and make"
)


def built(folder: Path, *targets: str, flags: str = QUICK, arch: str = "", cc: str | None = None) -> Path:
    command = ["make", "-C", str(folder), *targets, f"ARCH={arch}", f"CFLAGS={flags}", f"CC={cc or compiler()}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "network"


def run(program: Path, *arguments: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


def netpbm(frame: np.ndarray) -> bytes:
    rows, columns, channels = frame.shape
    return b"P%d\n# a comment\n%d %d\n255\n" % (6 if channels == 3 else 5, columns, rows) + frame.tobytes()


@pytest.fixture(scope="module")
def network():
    graph = segmenter()
    return graph, plan(graph, 4)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory) -> Path:
    """The folder with both programs built, with an image and its raw bytes next to it."""
    out = tmp_path_factory.mktemp("bundle") / "net"
    write_bundle(*network, out)
    frame = frames(1)[0]
    (out.parent / "image.ppm").write_bytes(netpbm(frame))
    (out.parent / "input.bin").write_bytes(frame.tobytes())
    if compiler() and shutil.which("make"):
        built(out, "network", "proof")
    return out


@pytest.fixture(scope="module")
def labels(network) -> np.ndarray:
    return execute(*network, frames(1)[0]).output.reshape(ROWS, COLUMNS)


def test_the_folder_holds_what_it_says(network, tmp_path):
    write_bundle(*network, tmp_path / "net")
    assert {path.name for path in (tmp_path / "net").iterdir()} == FILES
    assert read_plan(tmp_path / "net" / "plan.json", network[0]) == network[1]
    readme = (tmp_path / "net" / "README.md").read_text()
    for figure in (network[1].arena_bytes, network[1].weights_bytes, network[1].peak_memory_bytes):
        assert f"{figure:,}" in readme
    assert f"{ROWS} rows of {COLUMNS} pixels of 3 channels" in readme
    assert "$" not in (tmp_path / "net" / "main.c").read_text() + readme
    if shutil.which("sha256sum"):
        assert run(shutil.which("sha256sum"), "-c", "--quiet", SUMS, cwd=tmp_path / "net").returncode == 0


def test_a_target_with_flash_says_so(tmp_path):
    graph = segmenter()
    made = plan(graph, 4, MCU)
    write_bundle(graph, made, tmp_path / "net")
    assert (
        f"| {made.flash_bytes:,} | weights and tables, in flash: not RAM |"
        in (tmp_path / "net" / "README.md").read_text()
    )


def test_elements_that_no_type_of_c_may_lie_at_are_refused(tmp_path):
    network = Network(3)
    source = network.activation("frame", (1, 5, 5, 3), "int16", 16)
    end = network.operate("RELU", (source,), network.activation("end", (1, 5, 5, 3), "int16", 16))
    graph = network.graph("odd", (source,), (end,))
    made = plan(graph, 1, Target("tight", alignment_bytes=1))
    write_bundle(graph, made, tmp_path / "fits")
    moved = tuple(replace(buffer, offset=buffer.offset + 1) for buffer in made.buffers)
    with pytest.raises(UserError, match="elements of 2 bytes; plan for a target with alignment_bytes of at least 2"):
        write_bundle(graph, replace(made, buffers=moved, arena_bytes=made.arena_bytes + 1), tmp_path / "odd")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (CAMERA, "the run computes over it: write it anew"),
        (Target("keeps", keep_frame=True), "the run leaves it as it is"),
        (Target("outside", count_frame=False), "The frame is outside the arena"),
    ],
)
def test_the_readme_says_what_becomes_of_the_frame(tmp_path, target, says):
    graph = segmenter()
    write_bundle(graph, plan(graph, 4, target), tmp_path / "net")
    assert says in (tmp_path / "net" / "README.md").read_text()


def test_what_was_written_may_be_written_again_and_nothing_else(network, tmp_path):
    graph, made = network
    out = tmp_path / "net"
    write_bundle(graph, made, out)
    (out / "network").write_text("built")
    write_bundle(graph, plan(graph, 1), out)
    assert json.loads((out / "plan.json").read_text())["tile_count"] == 1
    (out / "main.c").write_text((out / "main.c").read_text() + "/* mine */\n")
    with pytest.raises(UserError, match=r"holds main.c, changed since it was written"):
        write_bundle(graph, made, out)
    assert "mine" in (out / "main.c").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("")
    with pytest.raises(UserError, match=r"holds thesis.txt, not part of"):
        write_bundle(graph, made, tmp_path / "other")
    with pytest.raises(UserError, match="is a file"):
        write_bundle(graph, made, tmp_path / "other" / "thesis.txt")
    with pytest.raises(UserError, match="there is no folder"):
        write_bundle(graph, made, tmp_path / "none" / "net")
    (tmp_path / "empty").mkdir()
    write_bundle(graph, made, tmp_path / "empty")


def test_networks_of_two_inputs_are_refused(tmp_path):
    network = Network()
    inputs = [network.activation(name, (1, 4, 4, 3)) for name in "ab"]
    network.operate("ADD", tuple(inputs), network.activation("sum", (1, 4, 4, 3)), activation="NONE")
    graph = network.graph("two", inputs, (2,))
    with pytest.raises(UserError, match="two has 2 inputs"):
        write_bundle(graph, plan(graph), tmp_path / "net")
    assert not (tmp_path / "net").exists()


@needs_compiler
def test_an_image_becomes_a_label_map(folder, labels, tmp_path):
    for name in ("labels.png", "LABELS.PGM"):
        done = run(folder / "network", folder.parent / "image.ppm", tmp_path / name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        with Image.open(tmp_path / name) as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), labels)
    assert np.array_equal(pixels_of_png((tmp_path / "labels.png").read_bytes()), labels)
    done = run(folder / "network", "--raw", folder.parent / "input.bin", tmp_path / "labels.bin")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "labels.bin").read_bytes() == labels.astype(np.uint8).tobytes()
    assert len(set(labels.ravel().tolist())) > 2


def pixels_of_png(data: bytes) -> np.ndarray:
    """A grey PNG read the strict way: every checksum is compared (zlib compares Adler-32)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(data[at + 4 : at + 8 + size])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    assert (chunks[0][0], chunks[-1]) == (b"IHDR", (b"IEND", b""))
    columns, rows, *form = struct.unpack(">IIBBBBB", chunks[0][1])
    assert form == [8, 0, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")), np.uint8)
    assert not lines.reshape(rows, columns + 1)[:, 0].any()
    return lines.reshape(rows, columns + 1)[:, 1:]


@needs_compiler
def test_times_and_proof(folder, network):
    done = run(folder / "network", "--time", 3, folder.parent / "image.ppm")
    times = re.fullmatch(r"(\d+\.\d{3}) ms\n(\d+\.\d{3}) ms\n(\d+\.\d{3}) ms\nleast: (\d+\.\d{3}) ms\n", done.stdout)
    assert min(map(float, times.groups()[:3])) == float(times[4])
    for arguments in ([folder.parent / "image.ppm"], ["--raw", folder.parent / "input.bin"]):
        done = run(folder / "network-proof", "--proof", *arguments)
        assert done.returncode == 0
        assert f"arena:   {network[1].arena_bytes} bytes planned" in done.stdout
        assert 0 < int(re.search(r"touched: (\d+) bytes", done.stdout)[1]) <= network[1].arena_bytes
        assert "outside: 0 bytes written" in done.stdout
        assert "equal whatever the arena held before" in done.stdout
        assert 0 < int(re.search(r"stack:   (\d+) bytes", done.stdout)[1]) < 16384


@needs_compiler
@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (("out[0] ^= guarded[5] & 1;", None), "NOT EQUAL"),
        (("guarded[NETWORK_GUARD_BYTES + NETWORK_ARENA_BYTES + 7] = 1;", None), "outside: 2 bytes written"),
        (("guarded[0] = 1;", None), "outside: 2 bytes written"),
    ],
)
def test_the_proof_sees_what_should_not_be(folder, network, tmp_path, mistake, says):
    """Faults put into the program; the proof must tell each of them."""
    out = tmp_path / "net"
    write_bundle(*network, out)
    text = (out / "network.c").read_text()
    fault = mistake[0].replace("out[0]", "((uint8_t *)network_output(0))[0]")
    broken = re.sub(r"(    run_sections\(.*?\);\n)", rf"\1    {fault}\n", text, count=1, flags=re.DOTALL)
    assert broken != text
    (out / "network.c").write_text(broken)
    built(out, "proof")
    done = run(out / "network-proof", "--proof", folder.parent / "image.ppm")
    assert says in done.stdout
    assert done.returncode == 1


@needs_compiler
def test_other_networks_have_the_command_that_fits_them(tmp_path):
    """Logits of a grey int8 frame give classes, the first of equal ones; a network without pixels gives bytes."""
    graph = segmenter(channels=1, frame="int8", labels=False, name='"grey" \\ net')
    made = plan(graph, 4)
    write_bundle(graph, made, tmp_path / "grey")
    program = built(tmp_path / "grey", flags=SANITIZED)
    frame = frames(1, channels=1)[0]
    (tmp_path / "image.pgm").write_bytes(netpbm(frame))
    logits = execute(graph, made, frame).output
    done = run(program, tmp_path / "image.pgm", tmp_path / "labels.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "labels.png")), logits[0].argmax(axis=2))
    (tmp_path / "input.bin").write_bytes((frame ^ 0x80).tobytes())
    assert run(program, "--raw", tmp_path / "input.bin", tmp_path / "out.bin").returncode == 0
    assert (tmp_path / "out.bin").read_bytes() == logits.tobytes()
    assert "IMAGE.pgm" in run(program, "--help").stdout

    network = Network()
    source = network.activation("frame", (1, 6, 5, 3))
    output = network.convolution("only", source, 1)
    graph = network.graph("depth", (source,), (output,))
    write_bundle(graph, plan(graph), tmp_path / "depth")
    program = built(tmp_path / "depth")
    done = run(program, tmp_path / "image.pgm", tmp_path / "labels.png")
    assert "cannot be taken as an image: its output is no label map, expected --raw" in done.stderr
    assert done.returncode == 2
    assert "IMAGE" not in run(program, "--help").stdout


HEADER = b"P6 20 24 255\n"
PIXELS = frames(1)[0].tobytes()
BAD_IMAGES = {
    "": (b"", "expected it to begin with P6"),
    "P": (b"P", "expected it to begin with P6"),
    "ascii": (b"P3" + HEADER[2:] + PIXELS, "is no binary PPM, expected it to begin with P6"),
    "grey": (b"P5" + HEADER[2:] + PIXELS, "expected it to begin with P6"),
    "png": (b"\x89PNG\r\n\x1a\n" + PIXELS, "expected it to begin with P6"),
    "turned": (b"P6 24 20 255\n" + PIXELS, "is 24 x 20 pixels, expected 20 x 24 (width x height)"),
    "maxval": (b"P6 20 24 65535\n" + 2 * PIXELS, "has maxval 65535, expected 255"),
    "maxval 0": (b"P6 20 24 0\n" + PIXELS, "has maxval 0, expected 255"),
    "words": (b"P6 20 x24 255\n" + PIXELS, "has a broken header"),
    "negative": (b"P6 -20 24 255\n" + PIXELS, "has a broken header"),
    "no gap": (b"P620 24 255\n" + PIXELS, "has a broken header"),
    "overflow": (b"P6 4294967316 24 255\n" + PIXELS, "has a broken header"),
    "longer": (b"P6 " + b"9" * 5000 + b" 24 255\n" + PIXELS, "has a broken header"),
    "no end": (b"P6 20 24 255", "has a broken header"),
    "comment without end": (b"P6 20 24 # 255\n"[:-1], "has a broken header"),
    "header only": (HEADER, "ends after 0 bytes of data, expected 1440"),
    "cut": (HEADER + PIXELS[:-1], "ends after 1439 bytes of data, expected 1440"),
}


@needs_compiler
def test_bad_images_end_in_one_line_and_no_output(folder, tmp_path):
    for name, (data, says) in BAD_IMAGES.items():
        (tmp_path / "bad.ppm").write_bytes(data)
        done = run(folder / "network", tmp_path / "bad.ppm", tmp_path / "labels.png")
        assert (done.returncode, done.stdout) == (2, ""), name
        assert done.stderr.startswith(f"network: {tmp_path}/bad.ppm: "), name
        assert says in done.stderr, name
        assert done.stderr.count("\n") == 1, name
        assert not (tmp_path / "labels.png").exists(), name


@needs_compiler
def test_bad_arguments_end_in_one_line(folder, tmp_path):
    image, raw = folder.parent / "image.ppm", folder.parent / "input.bin"
    (tmp_path / "short.bin").write_bytes(PIXELS[:-1])
    (tmp_path / "long.bin").write_bytes(PIXELS + b"\n")
    labels = tmp_path / "labels.png"
    for arguments, says in (
        ([], "INPUT: is missing, expected INPUT OUTPUT"),
        ([image], "OUTPUT: is missing"),
        ([image, tmp_path / "labels.jpg"], "labels.jpg: is no name for a label map, expected one that ends in .png"),
        ([image, "labels"], "labels: is no name for a label map"),
        ([image, labels, "more"], "more: is one file too many"),
        ([tmp_path / "none.ppm", labels], "none.ppm: cannot be opened (No such file or directory), expected an image"),
        ([tmp_path / "new\nline.ppm", labels], "new?line.ppm: cannot be opened"),
        ([tmp_path, labels], "cannot be read (Is a directory)"),
        ([image, tmp_path / "none" / "labels.png"], "cannot be written (No such file or directory)"),
        (["--raw", tmp_path / "short.bin", labels], "ends after 1439 bytes of data, expected 1440"),
        (["--raw", tmp_path / "long.bin", labels], "goes on after 1440 bytes of data, expected it to end there"),
        (["--raw", tmp_path, labels], "cannot be read (Is a directory)"),
        (["--time", "0", image], "--time: has no number of runs, expected 1 to 999999"),
        (["--time", "-3", image], "--time: has no number"),
        (["--time", "99999999999999999999", image], "--time: has no number"),
        (["--time", "1x", image], "--time: has no number"),
        (["--time"], "--time: has no number"),
        (["--fast", image], "--fast: is no option"),
        (["--proof", image, labels], "--proof: writes no output"),
        (["--proof", image], "--proof: is not in this program, expected the one of `make proof`"),
        (["--raw", raw], "OUTPUT: is missing"),
    ):
        done = run(folder / "network", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("network: "), arguments
        assert says in done.stderr, arguments
        assert done.stderr.count("\n") == 1, arguments
        assert not labels.exists()


@needs_compiler
@pytest.mark.parametrize("name", ["labels.png", "labels.pgm"])
def test_no_part_of_an_output_is_left_behind(folder, tmp_path, name):
    def little_room():
        setrlimit(RLIMIT_FSIZE, (200, 200))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    options = {"preexec_fn": little_room, "restore_signals": False}
    done = run(folder / "network", folder.parent / "image.ppm", tmp_path / name, **options)
    assert done.returncode == 2
    assert (
        f"network: {tmp_path}/{name}: cannot be written (File too large), expected room for all of it\n" == done.stderr
    )
    assert not (tmp_path / name).exists()
    if Path("/dev/full").exists():  # what is no file is not removed
        (tmp_path / f"full_{name}").symlink_to("/dev/full")
        done = run(folder / "network", folder.parent / "image.ppm", tmp_path / f"full_{name}")
        assert "cannot be written (No space left on device)" in done.stderr
        assert (tmp_path / f"full_{name}").is_symlink()
        assert Path("/dev/full").exists()


@needs_compiler
def test_the_command_holds_no_image_of_its_own(folder, tmp_path):
    """Only its stack, below 2 kB a function: neither the image nor the labels a second time."""
    if shutil.which("size") is None:
        pytest.skip("needs size, of binutils")
    flags = ["-std=c99", "-O1", "-Werror", "-Wframe-larger-than=2048"]
    subprocess.run([compiler(), *flags, "-c", folder / "main.c", "-o", tmp_path / "main.o"], check=True)
    sizes = run(shutil.which("size"), tmp_path / "main.o").stdout.splitlines()[1].split()
    assert int(sizes[1]) + int(sizes[2]) < 256  # data, bss


CROSS = {
    "arm": ("arm-linux-gnueabihf-gcc", "-mcpu=cortex-a9 -mfpu=neon", "qemu-arm"),
    "aarch64": ("aarch64-linux-gnu-gcc", "-mcpu=cortex-a53", "qemu-aarch64"),
    "clang": ("clang", "", None),
    "native": ("gcc", "-march=native", None),
}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("machine", CROSS)
def test_other_machines_give_the_same_labels(machine, folder, network, labels, tmp_path):
    cc, arch, emulator = CROSS[machine]
    if shutil.which(cc) is None or (emulator and shutil.which(emulator) is None):
        pytest.skip(f"needs {cc} {emulator or ''}")
    write_bundle(*network, tmp_path / "net")
    built(tmp_path / "net", "static", "proof", flags="-O3 -Wall -Wextra -Wno-unused-function", arch=arch, cc=cc)
    command = [emulator] if emulator else []
    image = folder.parent / "image.ppm"
    subprocess.run([*command, tmp_path / "net" / "network-static", image, tmp_path / "labels.png"], check=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "labels.png")), labels)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["-mcpu=cortex-m7 -mthumb", "-mcpu=cortex-m4 -mthumb", "-mcpu=cortex-m0plus -mthumb"])
def test_objects_for_a_microcontroller(arch, network, tmp_path):
    cc = "arm-none-eabi-gcc"
    if shutil.which(cc) is None:
        pytest.skip(f"needs {cc}")
    write_bundle(*network, tmp_path / "net")
    built(tmp_path / "net", "network.o", "kernels.o", flags="-O2 -Wall -Wextra -Wno-unused-function", arch=arch, cc=cc)
    symbols = run(shutil.which("arm-none-eabi-nm"), "-u", tmp_path / "net" / "kernels.o").stdout.split()
    wanted = {name for name in symbols if name != "U" and not name.startswith("__aeabi_")}  # the compiler's arithmetic
    assert wanted <= {"memcpy", "memset"}


@pytest.mark.slow
@needs_compiler
def test_the_ade20k_network_as_a_command(shared, tmp_path):
    graph = read_tflite(shared(ADE20K))
    made = plan(graph, 8)
    write_bundle(graph, made, tmp_path / "net")
    program = built(tmp_path / "net", "network", flags="-O3 -Wall -Wextra -Wno-unused-function", arch="-march=native")
    image = Image.open(sorted(shared(IMAGES).glob("*.jpg"))[0]).convert("RGB").resize((512, 512))
    image.save(tmp_path / "image.ppm")
    assert run(program, tmp_path / "image.ppm", tmp_path / "labels.png").returncode == 0
    expected = execute(graph, made, np.asarray(image)).output.reshape(512, 512)
    assert np.array_equal(pixels_of_png((tmp_path / "labels.png").read_bytes()), expected)
