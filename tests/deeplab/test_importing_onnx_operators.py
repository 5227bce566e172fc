"""Each ONNX operator that is imported computes what onnxruntime does."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from deeplab.importing.onnx_file import read_onnx
from evaluation.errors import UserError
from evaluation.graph import Graph, write_tflite
from evaluation.graph.geometry import nearest_tap
from tests.deeplab.onnx_models import compared, kinds, model, node, random, reference, saved

SIZES = [(7, 9), (8, 8), (12, 5)]


def weights(filters: int, depth: int, rows: int, columns: int, *, bias: bool = True) -> dict:
    found = {"w": random(filters, depth, rows, columns)}
    return found | ({"b": random(filters, seed=3)} if bias else {})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 5), (2, 2)])
@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2)), ((2, 1), (1, 3))]
)
@pytest.mark.parametrize(
    "pads", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1), (2, 1, 0, 3), "SAME_UPPER", "SAME_LOWER", "VALID"]
)
def test_conv(tmp_path, size, kernel, stride, dilation, pads):
    padding = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(extent > s for extent, s in zip(reach, size, strict=True)):
        size = (12, 13)
    if isinstance(pads, str):
        dilation = (1, 1)  # onnxruntime has no auto_pad with dilations
    own = node("Conv", "x w b", "y", kernel_shape=kernel, strides=stride, dilations=dilation, **padding)
    graph = compared(model([own], weights(4, 3, *kernel), shape=(1, 3, *size)), tmp_path)
    assert set(kinds(graph)) <= {"CONV_2D", "PAD"}


def test_padding_that_is_same_is_same(tmp_path):
    own = node("Conv", "x w", "y", pads=(1, 1, 1, 1))
    assert kinds(compared(model([own], weights(4, 3, 3, 3, bias=False)), tmp_path)) == {"CONV_2D": 1}


@pytest.mark.parametrize("at_end", [False, True])
def test_symmetric_padding_of_a_stride_is_same_only_where_tflite_pads_so(tmp_path, at_end):
    own = node("Conv", "x w", "y", pads=(0, 0, 1, 1) if at_end else (1, 1, 1, 1), strides=(2, 2))
    graph = compared(model([own], weights(4, 3, 3, 3, bias=False), shape=(1, 3, 8, 8)), tmp_path)
    assert kinds(graph) == ({"CONV_2D": 1} if at_end else {"PAD": 1, "CONV_2D": 1})
    assert graph.operators[-1].attributes["padding"] == ("SAME" if at_end else "VALID")


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_a_pad_of_zeros_joins_the_padding_of_the_convolution_behind_it(tmp_path, mode):
    nodes = [node("Pad", "x p", "q", mode=mode), node("Conv", "q w", "y", strides=(2, 2))]
    constants = {"p": np.array([0, 0, 0, 0, 0, 0, 1, 1]), **weights(4, 3, 3, 3, bias=False)}
    graph = compared(model(nodes, constants, shape=(1, 3, 8, 8)), tmp_path)
    assert kinds(graph) == ({"CONV_2D": 1} if mode == "constant" else {"MIRROR_PAD": 1, "CONV_2D": 1})


@pytest.mark.parametrize(
    ("groups", "filters", "kind"), [(3, 3, "DEPTHWISE_CONV_2D"), (3, 6, "DEPTHWISE_CONV_2D"), (1, 5, "CONV_2D")]
)
@pytest.mark.parametrize("dilation", [(1, 1), (2, 2)])
def test_conv_in_groups_of_one_channel(tmp_path, groups, filters, kind, dilation):
    own = node("Conv", "x w b", "y", group=groups, pads=(2, 2, 2, 2), dilations=dilation)
    graph = compared(model([own], weights(filters, 3 // groups, 3, 3)), tmp_path)
    assert graph.operators[-1].kind == kind


def test_conv_in_groups_of_several_channels(tmp_path):
    nodes = [node("Conv", "x w0", "c"), node("Conv", "c w b", "y", group=2, pads=(1, 1, 1, 1))]
    compared(model(nodes, {"w0": random(6, 3, 1, 1), **weights(4, 3, 3, 3)}), tmp_path)


@pytest.mark.parametrize("opset", [11, 13, 22])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "extra"),
    [
        ((4, 4), (2, 2), (1, 1, 1, 1), (0, 0)),
        ((2, 2), (2, 2), (0, 0, 0, 0), (0, 0)),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
        ((3, 3), (1, 1), (1, 1, 1, 1), (0, 0)),
        ((3, 3), (1, 1), (0, 0, 0, 0), (0, 0)),
        ((5, 3), (3, 2), (2, 0, 1, 1), (2, 1)),
        ((16, 16), (8, 8), (4, 4, 4, 4), (0, 0)),
        ((2, 2), (3, 3), (0, 0, 0, 0), (0, 0)),
        ((2, 2), (3, 3), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_conv_transpose(tmp_path, opset, kernel, stride, pads, extra):
    own = node("ConvTranspose", "x w b", "y", strides=stride, pads=pads, output_padding=extra)
    constants = {"w": random(3, 4, *kernel), "b": random(4, seed=3)}
    graph = compared(model([own], constants, shape=(1, 3, 5, 6), opset=opset), tmp_path)
    assert set(kinds(graph)) <= {"TRANSPOSE_CONV", "SLICE"}


def test_the_usual_upsampling_by_two_needs_no_slice(tmp_path):
    """As PyTorch users write it: 3 x 3, stride 2, padding 1, output_padding 1."""
    own = node("ConvTranspose", "x w", "c", strides=(2, 2), pads=(1, 1, 1, 1), output_padding=(1, 1))
    nodes = [own, node("BatchNormalization", "c scale shift mean var", "n"), node("Relu", "n", "y")]
    graph = compared(model(nodes, {"w": random(3, 4, 3, 3), **norm(4)}, shape=(1, 3, 5, 6)), tmp_path)
    assert kinds(graph) == {"TRANSPOSE_CONV": 1}
    assert graph.operators[0].attributes["padding"] == "SAME"


@pytest.mark.parametrize(("groups", "dilation"), [(3, (1, 1)), (1, (2, 2)), (3, (2, 1))])
def test_conv_transpose_with_groups_and_dilations(tmp_path, groups, dilation):
    own = node("ConvTranspose", "x w", "y", strides=(2, 2), pads=(1, 1, 1, 1), group=groups, dilations=dilation)
    compared(model([own], {"w": random(3, 4, 4, 4)}, shape=(1, 3, 5, 6)), tmp_path)


@pytest.mark.parametrize(
    "attributes",
    [{"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"output_shape": (10, 12)}, {"output_shape": (11, 13)}],
)
def test_conv_transpose_whose_output_size_is_stated(tmp_path, attributes):
    own = node("ConvTranspose", "x w", "y", strides=(2, 2), **attributes)
    compared(model([own], {"w": random(3, 4, 3, 3)}, shape=(1, 3, 5, 6)), tmp_path)


# -- elementwise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "attributes", "made"),
    [
        ("Relu", {}, "RELU"),
        ("Sigmoid", {}, "LOGISTIC"),
        ("Tanh", {}, "TANH"),
        ("HardSwish", {}, "HARD_SWISH"),
        ("Elu", {}, "ELU"),
        ("LeakyRelu", {"alpha": 0.2}, "LEAKY_RELU"),
        ("LeakyRelu", {}, "LEAKY_RELU"),
    ],
)
def test_activation_functions(tmp_path, kind, attributes, made):
    assert kinds(compared(model([node(kind, "x", "y", **attributes)]), tmp_path)) == {made: 1}


@pytest.mark.parametrize("opset", [13, 17, 25])
@pytest.mark.parametrize(
    ("least", "most", "made"),
    [
        (0.0, 6.0, {"RELU6": 1}),
        (0.0, None, {"RELU": 1}),
        (None, 6.0, {"MINIMUM": 1}),
        (-1.0, 1.0, {"RELU_N1_TO_1": 1}),
        (0.0, 1.0, {"RELU": 1, "MINIMUM": 1}),
        (0.0, float(np.finfo(np.float32).max), {"RELU": 1}),
        (2.0, -2.0, None),
    ],
)
def test_clip(tmp_path, opset, least, most, made):
    bounds = {name: value for name, value in (("low", least), ("high", most)) if value is not None}
    inputs = f"x {'low' if least is not None else '-'}{' high' if most is not None else ''}"
    graph = compared(model([node("Clip", inputs, "y")], bounds, opset=opset), tmp_path)
    assert made is None or kinds(graph) == made


@pytest.mark.parametrize("kinds_in_order", [("Max", "Min"), ("Min", "Max"), ("Relu", "Min"), ("Min", "Relu")])
def test_a_clamp_in_two_steps_is_one(tmp_path, kinds_in_order):
    bounds = {"Max": " zero", "Min": " six", "Relu": ""}
    first, last = kinds_in_order
    nodes = [node(first, f"x{bounds[first]}", "a"), node(last, f"a{bounds[last]}", "y")]
    used = {name: value for name, value in (("zero", 0.0), ("six", 6.0)) if any(name in own.input for own in nodes)}
    assert kinds(compared(model(nodes, used), tmp_path)) == {"RELU6": 1}


@pytest.mark.parametrize("attributes", [{}, {"alpha": 1 / 6}, {"alpha": 0.5, "beta": 0.25}])
def test_hard_sigmoid(tmp_path, attributes):
    compared(model([node("HardSigmoid", "x", "y", **attributes)]), tmp_path)


@pytest.mark.parametrize(
    "form", ["x*h(x)", "h(x)*x", "x*c/6", "c*x/6", "x*(c/6)", "x*(c*1/6)", "(x*c)*1/6", "1/6*(c*x)"]
)
def test_hard_swish_is_found_however_it_is_written(tmp_path, form):
    gate = [node("Add", "x three", "s"), node("Clip", "s zero six", "c")]
    nodes = {
        "x*h(x)": [node("HardSigmoid", "x", "h", alpha=1 / 6), node("Mul", "x h", "y")],
        "h(x)*x": [node("HardSigmoid", "x", "h", alpha=1 / 6), node("Mul", "h x", "y")],
        "x*c/6": [*gate, node("Mul", "x c", "m"), node("Div", "m six", "y")],
        "c*x/6": [*gate, node("Mul", "c x", "m"), node("Div", "m six", "y")],
        "x*(c/6)": [*gate, node("Div", "c six", "m"), node("Mul", "x m", "y")],
        "x*(c*1/6)": [*gate, node("Mul", "c sixth", "m"), node("Mul", "x m", "y")],
        "(x*c)*1/6": [*gate, node("Mul", "x c", "m"), node("Mul", "m sixth", "y")],
        "1/6*(c*x)": [*gate, node("Mul", "c x", "m"), node("Mul", "sixth m", "y")],
    }[form]
    constants = {"three": 3.0, "zero": 0.0, "six": 6.0, "sixth": 1 / 6}
    assert kinds(compared(model(nodes, constants), tmp_path)) == {"HARD_SWISH": 1}


@pytest.mark.parametrize(("shift", "source"), [(2.5, "x"), (3.0, "t")])
def test_what_only_resembles_hard_swish_is_left(tmp_path, shift, source):
    nodes = [
        node("Tanh", "x", "t"),
        node("Add", "x three", "s"),
        node("Clip", "s zero six", "c"),
        node("Mul", f"{source} c", "m"),
        node("Div", "m six", "y"),
    ]
    graph = compared(model(nodes, {"three": shift, "zero": 0.0, "six": 6.0}), tmp_path)
    assert "HARD_SWISH" not in kinds(graph)


def test_silu_is_a_product_with_the_sigmoid(tmp_path):
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "x s", "y")]
    assert kinds(compared(model(nodes), tmp_path)) == {"LOGISTIC": 1, "MUL": 1}


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (7, 9), (1, 1, 7, 1), (1, 3, 7, 9), (9,)])
@pytest.mark.parametrize("is_first", [False, True])
def test_arithmetic_with_constants(tmp_path, kind, shape, is_first):
    constant = np.abs(random(*shape)) + 0.5
    image = random(1, 7, 9, 3, seed=2)
    image = np.where(np.abs(image) < 0.2, np.float32(0.3), image)  # of a quotient
    own = node(kind, "c x" if is_first else "x c", "y")
    assert sum(kinds(compared(model([own], {"c": constant}), tmp_path, image=image)).values()) == 1


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_of_an_image_and_its_pooled_channels(tmp_path, kind):
    nodes = [node("Sigmoid", "x", "a"), node("GlobalAveragePool", "a", "p"), node(kind, "x p", "y")]
    graph = compared(model(nodes), tmp_path)
    assert "TRANSPOSE" not in kinds(graph)


@pytest.mark.parametrize("kind", ["Sum", "Max", "Min"])
def test_operators_of_any_number_of_inputs(tmp_path, kind):
    nodes = [node("Relu", "x", "a"), node("Tanh", "x", "b"), node(kind, "a b x", "y")]
    compared(model(nodes), tmp_path)


@pytest.mark.parametrize("shape", [(1,), (3, 1, 1), (1, 3, 1, 1)])
def test_prelu(tmp_path, shape):
    compared(model([node("PRelu", "x s", "y")], {"s": random(*shape)}), tmp_path)


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_pow(tmp_path, exponent):
    compared(model([node("Pow", "x e", "y")], {"e": exponent}), tmp_path)


def norm(channels: int) -> dict:
    return {
        "scale": random(channels, seed=5),
        "shift": random(channels, seed=6),
        "mean": random(channels, seed=7),
        "var": np.abs(random(channels, seed=8)) + 0.1,
    }


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_a_batch_normalization_goes_into_the_convolution_before_it(tmp_path, kind, groups):
    nodes = [
        node(kind, "x w b", "c", group=groups),
        node("BatchNormalization", "c scale shift mean var", "n"),
        node("Relu", "n", "y"),
    ]
    shape = (3, 3 // groups, 3, 3)
    graph = compared(model(nodes, {"w": random(*shape), "b": random(3, seed=2), **norm(3)}), tmp_path)
    assert len(graph.operators) == 1
    assert graph.operators[0].attributes["activation"] == "RELU"


def test_a_batch_normalization_of_what_others_read_too_stays(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c scale shift mean var", "n"),
        node("Add", "c n", "y"),
    ]
    graph = compared(model(nodes, {"w": random(4, 3, 1, 1), **norm(4)}), tmp_path)
    assert kinds(graph) == {"CONV_2D": 1, "MUL": 1, "ADD": 2}


def test_a_batch_normalization_of_the_image_is_arithmetic(tmp_path):
    graph = compared(model([node("BatchNormalization", "x scale shift mean var", "y")], norm(3)), tmp_path)
    assert kinds(graph) == {"MUL": 1, "ADD": 1}


@pytest.mark.parametrize("kind", ["Relu", "Clip", "Tanh"])
def test_an_activation_function_is_fused_where_nothing_else_reads_its_input(tmp_path, kind):
    constants = {"w": random(4, 3, 1, 1), "low": 0.0, "high": 6.0}
    own = node(kind, "c low high" if kind == "Clip" else "c", "y")
    graph = compared(model([node("Conv", "x w", "c"), own], constants), tmp_path)
    assert kinds(graph) == ({"CONV_2D": 1, "TANH": 1} if kind == "Tanh" else {"CONV_2D": 1})
    both = compared(model([node("Conv", "x w", "c"), own], constants, outputs="c y"), tmp_path)
    assert len(both.operators) == 2


# -- pools and reductions ----------------------------------------------------------------------------------------------

POOLS = [
    ((2, 2), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (1, 1, 1, 1)),
    ((3, 3), (1, 1), (1, 1, 1, 1)),
    ((3, 2), (1, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (0, 0, 1, 1)),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel", "stride", "pads"), POOLS)
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("opset", [13, 22])
def test_max_pool(tmp_path, size, kernel, stride, pads, ceil, opset):
    own = node("MaxPool", "x", "y", kernel_shape=kernel, strides=stride, pads=pads, ceil_mode=ceil)
    compared(model([own], shape=(1, 3, *size), opset=opset), tmp_path)


@pytest.mark.parametrize(("before", "made"), [("Relu", "PAD"), ("Sigmoid", "PAD"), ("LeakyRelu", "PADV2")])
def test_a_max_pool_behind_a_relu_is_padded_with_zeros(tmp_path, before, made):
    pool = node("MaxPool", "r", "y", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    graph = compared(model([node(before, "x", "r"), pool], shape=(1, 3, 8, 8)), tmp_path)
    assert kinds(graph)[made] == 1


@pytest.mark.parametrize(("kernel", "stride", "pads"), POOLS)
def test_average_pool_that_counts_its_padding(tmp_path, kernel, stride, pads):
    own = node("AveragePool", "x", "y", kernel_shape=kernel, strides=stride, pads=pads, count_include_pad=1)
    compared(model([own], shape=(1, 3, 8, 8)), tmp_path)


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 3), (1, 1), (1, 1, 1, 1)), ((3, 3), (2, 2), (0, 0, 1, 1))],
)
def test_average_pool(tmp_path, kernel, stride, pads):
    own = node("AveragePool", "x", "y", kernel_shape=kernel, strides=stride, pads=pads)
    compared(model([own], shape=(1, 3, 8, 8)), tmp_path)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(tmp_path, kind):
    compared(model([node(kind, "x", "y")]), tmp_path)


@pytest.mark.parametrize(("opset", "stated"), [(13, "attribute"), (18, "input")])
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (1,), (2,), (0, 1, 2, 3)])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum"])
def test_reductions(tmp_path, opset, stated, axes, keep, kind):
    is_input = stated == "input" or kind == "ReduceSum"
    own = node(kind, "x a" if is_input else "x", "y", keepdims=keep, **({} if is_input else {"axes": axes}))
    compared(model([own], {"a": np.array(axes)} if is_input else {}, opset=opset), tmp_path)


# -- resize ------------------------------------------------------------------------------------------------------------

BILINEAR = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


@pytest.mark.parametrize("mode", BILINEAR)
@pytest.mark.parametrize("sizes", [(14, 18), (15, 20), (3, 5), (7, 9), (28, 9)])
def test_linear_resize_to_sizes(tmp_path, mode, sizes):
    own = node("Resize", "x - - s", "y", mode="linear", coordinate_transformation_mode=mode)
    made = model([own], {"s": np.array([1, 3, *sizes])}, opset=19)
    graph = compared(made, tmp_path)
    assert kinds(graph) == ({"RESHAPE" if sizes == (7, 9) else "RESIZE_BILINEAR": 1})


@pytest.mark.parametrize("mode", BILINEAR)
@pytest.mark.parametrize("scale", [2.0, 4.0, 0.5])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_linear_resize_by_scales(tmp_path, mode, scale, opset):
    if mode == "half_pixel_symmetric":
        opset = 19
    own = node("Resize", "x r s", "y", mode="linear", coordinate_transformation_mode=mode)
    constants = {"s": [1.0, 1.0, scale, scale], "r": np.zeros(0, np.float32)}
    compared(model([own], constants, shape=(1, 3, 8, 6), opset=opset), tmp_path)


def test_resize_of_some_axes(tmp_path):
    own = node("Resize", "x - - s", "y", mode="linear", axes=(3, 2))
    compared(model([own], {"s": np.array([18, 14])}, opset=18), tmp_path)


@pytest.mark.parametrize("mode", BILINEAR)
def test_resize_of_one_pixel(tmp_path, mode):
    nodes = [
        node("GlobalAveragePool", "x", "p"),
        node("Resize", "p - - s", "y", mode="linear", coordinate_transformation_mode=mode),
    ]
    compared(model(nodes, {"s": np.array([1, 3, 7, 9])}, opset=19), tmp_path)


NEAREST = [
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("align_corners", "round_prefer_ceil"),
    ("align_corners", "round_prefer_floor"),
    ("half_pixel", "floor"),
    ("asymmetric", "round_prefer_floor"),
    ("asymmetric", "ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("tf_half_pixel_for_nn", "floor"),
]


@pytest.mark.parametrize(("mode", "rounding"), NEAREST)
@pytest.mark.parametrize("size", [(14, 18), (21, 27), (10, 11), (4, 3), (28, 36)])
def test_nearest_resize_is_exact_or_refused(tmp_path, mode, rounding, size):
    opset = 11 if mode.startswith("tf") else 17
    own = node("Resize", "x r t s", "y", mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)
    empty = np.zeros(0, np.float32)
    made = model([own], {"r": empty, "t": empty, "s": np.array([1, 3, *size])}, opset=opset)
    if can_be_resized(made, (7, 9), size):
        assert kinds(compared(made, tmp_path)) == {"RESIZE_NEAREST_NEIGHBOR": 1}
        return
    with pytest.raises(UserError, match=r"resize_y.*\(Resize\).*a nearest resize that TFLite has"):
        read_onnx(saved(made, tmp_path))


def can_be_resized(made, inputs: tuple[int, int], outputs: tuple[int, int]) -> bool:
    """Whether one of TFLite's conventions takes the same pixels as onnxruntime."""
    pixels = np.arange(inputs[0] * inputs[1], dtype=np.float32).reshape(inputs)
    (expected,) = reference(made, np.broadcast_to(pixels, (1, 3, *inputs)).copy())
    conventions = [{"align_corners": align, "half_pixel_centers": half} for align, half in ((0, 0), (1, 0), (0, 1))]
    taken = [
        pixels[np.ix_(*(nearest_tap(*sizes, flags) for sizes in zip(inputs, outputs, strict=True)))]
        for flags in conventions
    ]
    return any(np.array_equal(expected[0, 0], found) for found in taken)


# -- parts and joins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [1, -3])
def test_concat_of_channels(tmp_path, axis):
    nodes = [node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Concat", "a b x", "y", axis=axis)]
    assert kinds(compared(model(nodes), tmp_path))["CONCATENATION"] == 1


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize(("opset", "sizes"), [(11, None), (13, None), (18, None), (11, (1, -1)), (13, (-1, 1))])
def test_split(tmp_path, axis, opset, sizes):
    shape, attributes = [1, 3, 9, 6], {"axis": axis}
    names, constants, inputs = "a b c", {}, "x"
    if sizes is not None:
        sizes = tuple(shape[axis] - 1 if size < 0 else size for size in sizes)
        names = "a b"
        inputs, constants = ("x s", {"s": np.array(sizes)}) if opset >= 13 else ("x", {})
        attributes |= {} if opset >= 13 else {"split": sizes}
    if opset >= 18 and sizes is None:
        attributes["num_outputs"] = 3
    nodes = [node("Relu", "x", "r"), node("Split", inputs.replace("x", "r"), names, **attributes)]
    compared(model(nodes, constants, shape=shape, outputs=names, opset=opset), tmp_path)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1,), (3,), (1,), (1,)),
        ((0, 2), (7, 9), (2, 3), (2, 3)),
        ((-2,), (9223372036854775807,), (-1,), (1,)),
        ((0,), (100,), (2,), (1,)),
        ((1, 1), (-1, -1), (2, 3), (1, 1)),
        ((0,), (1,), (0,), (1,)),
    ],
)
def test_slice(tmp_path, starts, ends, axes, steps):
    constants = {name: np.array(value) for name, value in (("s", starts), ("e", ends), ("a", axes), ("p", steps))}
    compared(model([node("Slice", "x s e a p", "y")], constants), tmp_path)


@pytest.mark.parametrize(("indices", "axis"), [((2, 1, 0), 1), (1, 1), ((0, 1), 1), ((-1,), 1), (0, 0), ((4, 5), 2)])
def test_gather(tmp_path, indices, axis):
    compared(model([node("Gather", "x i", "y", axis=axis)], {"i": np.array(indices)}), tmp_path)


@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 0, 0, 3, 4), (0, 0, 0, 0, 0, 0, 0, 0), (0, 0, -1, 0, 0, 0, 2, -3)])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_pad(tmp_path, pads, value):
    compared(model([node("Pad", "x p v", "y")], {"p": np.array(pads), "v": value}), tmp_path)


def test_pad_by_reflection(tmp_path):
    compared(model([node("Pad", "x p", "y", mode="reflect")], {"p": np.array((0, 0, 1, 2, 0, 0, 3, 4))}), tmp_path)


def test_pad_of_some_axes(tmp_path):
    constants = {"p": np.array((1, 2, 3, 4)), "a": np.array((3, 2))}
    compared(model([node("Pad", "x p - a", "y")], constants, opset=18), tmp_path)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("is_behind_conv", [False, True])
def test_depth_to_space(tmp_path, mode, is_behind_conv):
    nodes = [node("Conv", "x w b", "c"), node("DepthToSpace", "c", "d", blocksize=2, mode=mode), node("Relu", "d", "y")]
    outputs = "y" if is_behind_conv else "y c"
    graph = compared(model(nodes, weights(12, 3, 1, 1), outputs=outputs), tmp_path)
    assert kinds(graph)["CONV_2D"] == (1 if is_behind_conv or mode == "DCR" else 2)


def test_space_to_depth(tmp_path):
    compared(model([node("SpaceToDepth", "x", "y", blocksize=2)], shape=(1, 3, 6, 8)), tmp_path)


@pytest.mark.parametrize(("opset", "axis"), [(11, 3), (13, 1), (13, 3), (13, -1), (17, 2)])
def test_softmax(tmp_path, opset, axis):
    compared(model([node("Softmax", "x", "y", axis=axis)], opset=opset), tmp_path)


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axis", [1, 3, 2])
def test_argmax(tmp_path, keep, axis):
    graph = compared(model([node("ArgMax", "x", "y", axis=axis, keepdims=keep)]), tmp_path)
    assert kinds(graph)["ARG_MAX"] == 1
    assert ("TRANSPOSE" in kinds(graph)) == (axis != 1)


@pytest.mark.parametrize("kind", ["Expand", "Tile"])
def test_a_pooled_vector_becomes_an_image(tmp_path, kind):
    nodes = [node("GlobalAveragePool", "x", "p"), node(kind, "p s", "y")]
    compared(model(nodes, {"s": np.array((1, 3, 7, 9) if kind == "Expand" else (1, 1, 7, 9))}), tmp_path)


@pytest.mark.parametrize("swap", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("shift", [None, (), (5,), (1, 5)])
def test_gemm_of_a_pooled_vector_is_a_convolution(tmp_path, swap, shift):
    swap_b, is_scaled = swap
    attributes = {"transB": swap_b} | ({"alpha": 0.5, "beta": 2.0} if is_scaled else {})
    constants = {"w": random(5, 3) if swap_b else random(3, 5)}
    if shift is not None:
        constants["c"] = random(*shift)
    nodes = [
        node("GlobalAveragePool", "x", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f w" if shift is None else "f w c", "y", **attributes),
    ]
    assert kinds(compared(model(nodes, constants), tmp_path)) == {"AVERAGE_POOL_2D": 1, "CONV_2D": 1}


def test_matmul_over_channels_of_an_nhwc_image_is_a_convolution(tmp_path):
    nodes = [
        node("Transpose", "x", "t", perm=(0, 2, 3, 1)),
        node("MatMul", "t w", "m"),
        node("Add", "m b", "a"),
        node("Transpose", "a", "y", perm=(0, 3, 1, 2)),
    ]
    assert kinds(compared(model(nodes, {"w": random(3, 5), "b": random(5)}), tmp_path)) == {"CONV_2D": 1}


# -- what LiteRT alone runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "attributes", "made"), [
    ("Exp", {}, "EXP"), ("Log", {}, "LOG"), ("Sqrt", {}, "SQRT"), ("Abs", {}, "ABS"), ("Neg", {}, "NEG"),
    ("Floor", {}, "FLOOR"), ("Ceil", {}, "CEIL"), ("LogSoftmax", {"axis": 1}, "LOG_SOFTMAX"),
    ("ReduceMax", {"axes": (2, 3)}, "REDUCE_MAX"), ("ReduceMin", {"axes": (1,)}, "REDUCE_MIN"),
])  # fmt: skip
def test_operators_that_the_interpreter_does_not_run(tmp_path, kind, attributes, made):
    nodes = [node("Sigmoid", "x", "a"), node("Add", "a k", "b"), node(kind, "b", "y", **attributes)]
    original = model(nodes, {"k": 0.5})
    graph = read_onnx(saved(original, tmp_path))
    assert kinds(graph)[made] == 1
    image = random(1, 7, 9, 3, seed=1)
    (expected,) = reference(original, image.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(run_by_litert(graph, image), expected.transpose(0, 2, 3, 1), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("target", "dtype"), [(6, "int32"), (2, "uint8"), (7, "int64")])
def test_labels_keep_the_type_that_they_are_cast_to(tmp_path, target, dtype):
    nodes = [node("ArgMax", "x", "a", axis=1, keepdims=0), node("Cast", "a", "y", to=target)]
    original = model(nodes)
    graph = read_onnx(saved(original, tmp_path))
    assert graph.tensors[graph.outputs[0]].dtype == dtype
    image = random(1, 7, 9, 3, seed=1)
    (expected,) = reference(original, image.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(run_by_litert(graph, image), expected)


def run_by_litert(graph: Graph, image: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=write_tflite(graph))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
