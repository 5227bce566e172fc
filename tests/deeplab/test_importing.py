"""Weight import: the five real files, their published scores, and clear refusals."""

import numpy as np
import pytest

from deeplab.datasets import open_dataset
from deeplab.importing import import_tflite
from deeplab.scoring import score
from deeplab.spec import mobilenet_v2_deeplab
from evaluation.errors import UserError

# Parameters, tap and score of each file's float network as its SOURCE.txt states them.
FILES = {
    "deeplabv3_257_mv_gpu": (688_357, None, 0.577),
    "deeplabv3_mnv2_dm05_pascal_quant": (688_357, None, 0.722),
    "deeplabv3_mnv2_pascal_quant": (2_097_013, None, 0.759),
    "deeplabv3_mnv2_ade20k_int8": (2_256_272, "depthwise", 0.476),
    "deeplabv3plus_mnv2_camvid_float": (2_250_875, "depthwise", 0.6936),
}


@pytest.mark.parametrize("name", FILES)
def test_the_spec_is_found(shared, name):
    parameters, tap, _ = FILES[name]
    checkpoint = import_tflite(shared(f"weights/{name}.tflite"))
    assert checkpoint.parameters == parameters
    assert (checkpoint.spec.decoder.skip_tap if checkpoint.spec.decoder else None) == tap


def test_the_ade20k_file_is_the_network_the_builder_makes(shared):
    spec = import_tflite(shared("weights/deeplabv3_mnv2_ade20k_int8.tflite")).spec
    assert spec == mobilenet_v2_deeplab(input_height=512, input_width=512, classes=32)


def _miou(shared, name):
    checkpoint = import_tflite(shared(f"weights/{name}.tflite"))
    if "ade20k" in name:
        dataset = open_dataset("ade20k", shared("data/ade20k_subset"), classes=32)
    elif "camvid" in name:
        dataset = open_dataset("camvid", shared("data/camvid"))
    else:
        dataset = open_dataset("voc", shared("data/voc2012_subset"))
    split = dataset.split("val" if "camvid" in name else "all")
    return score(checkpoint, dataset, split).miou


@pytest.mark.parametrize("name", ["deeplabv3_257_mv_gpu"])
def test_the_score_is_the_published_one(shared, name):
    assert _miou(shared, name) == pytest.approx(FILES[name][2], abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name != "deeplabv3_257_mv_gpu"])
def test_the_score_is_the_published_one_for_the_larger_networks(shared, name):
    assert _miou(shared, name) == pytest.approx(FILES[name][2], abs=0.005)


def test_float_logits_equal_litert(shared):
    """Logits of the 257 network on one image, against the interpreter running the file itself."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from deeplab.model import build, load_weights

    path = shared("weights/deeplabv3_257_mv_gpu.tflite")
    checkpoint = import_tflite(path)
    frame = np.random.default_rng(0).integers(0, 256, (1, 257, 257, 3)).astype(np.float32) / 127.5 - 1
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    model = build(checkpoint.spec)
    load_weights(model, checkpoint.spec, checkpoint.weights)
    np.testing.assert_allclose(model(frame, training=False).numpy(), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mlperf_tiny__vww_96_int8", "operator 0 (CONV_2D"),
        ("coral__tf2_mobilenet_v2_1.0_224_ptq", "does not fit, expected CONV_2D"),
        ("mlperf_tiny__ad01_int8", "expected [1, height, width, 3]"),
        ("mediapipe__selfie_segmentation", "custom operator"),
        ("tinyengine__vww", "(PAD"),
    ],
)
def test_other_networks_are_refused_by_the_first_operator_that_does_not_fit(shared, name, words):
    with pytest.raises(UserError) as refusal:
        import_tflite(shared(f"planner_cases/networks/{name}.tflite"))
    assert words in str(refusal.value)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(shared, tmp_path, share):
    whole = shared("weights/deeplabv3_257_mv_gpu.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"cut\.tflite"):
        import_tflite(path)
