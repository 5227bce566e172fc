"""The TensorFlow operations of which the serving signature of a SavedModel may consist.

Each computes its output from its inputs alone, or reads a variable. None runs Python code, reads or writes a file,
draws random numbers, or keeps state.
"""

from __future__ import annotations

_CALLS = """
    Placeholder PlaceholderWithDefault Const Identity IdentityN NoOp StopGradient PreventGradient CheckNumerics Assert
    EnsureShape VarHandleOp ReadVariableOp DisableCopyOnRead PartitionedCall StatefulPartitionedCall
"""
_LAYERS = """
    Conv2D DepthwiseConv2dNative Conv2DBackpropInput BiasAdd BiasAddV1 MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3
    Einsum AvgPool MaxPool MaxPoolV2 FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN
    BatchNormWithGlobalNormalization Relu Relu6 LeakyRelu Elu Selu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax
    CropAndResize ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
"""
_ARITHMETIC = """
    Add AddV2 AddN Sub Mul Div DivNoNan RealDiv FloorDiv FloorMod Mod TruncateDiv Maximum Minimum Pow SquaredDifference
    Abs Ceil Exp Expm1 Floor Inv Log Log1p Neg Reciprocal Rint Round Rsqrt Sign Sin Cos Sqrt Square ClipByValue Atan2
    Erf Erfc Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr
    All Any ArgMax ArgMin Max Mean Min Prod Sum Cumsum TopKV2 L2Loss
"""
_ARRANGEMENT = """
    BroadcastArgs BroadcastTo Cast Concat ConcatV2 ConcatOffset ExpandDims Fill Gather GatherNd GatherV2
    InvertPermutation MirrorPad OneHot OnesLike Pack Pad PadV2 Range Rank Reshape ReverseV2 Roll ScatterNd Select
    SelectV2 Shape ShapeN Size Slice Split SplitV Squeeze StridedSlice TensorScatterUpdate Tile Transpose Unpack Where
    ZerosLike BatchToSpace BatchToSpaceND DepthToSpace SpaceToBatch SpaceToBatchND SpaceToDepth
"""

OPERATIONS = frozenset(f"{_CALLS}{_LAYERS}{_ARITHMETIC}{_ARRANGEMENT}".split())
