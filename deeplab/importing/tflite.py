"""A trained DeepLab from a `.tflite` file: finds the spec in the file's graph and brings the weights over as floats.

The walk follows the network's own structure (stem, inverted residuals, ASPP, decoder, logits) rather than the order of
the operators in the file, so converters may have ordered them as they like. QUANTIZE, RESHAPE of nothing and resizes to
the size they already have compute nothing in float and are passed over.
"""

from __future__ import annotations

from pathlib import Path

from deeplab.checkpoint import Checkpoint
from deeplab.importing.graph_walk import GraphWalk
from deeplab.spec import Aspp, AtrousBranch, Block, Decoder, NetworkSpec, SkipTap
from evaluation.errors import UserError
from evaluation.graph.tflite import read_tflite


def import_tflite(path: Path) -> Checkpoint:
    """Read a DeepLab v3 or v3+ on MobileNetV2 (float32, int8 per channel or uint8 per tensor) as a float checkpoint.

    Raises:
        UserError: the file is not a `.tflite`, or not such a network; names the first operator that does not fit.
    """
    graph = read_tflite(path)
    return _DeeplabWalk(graph, str(path)).checkpoint()


class _DeeplabWalk(GraphWalk):
    """From the input to the logits: backbone, ASPP, decoder, end."""

    def checkpoint(self) -> Checkpoint:
        frame = self.graph.inputs[0]
        shape = self.tensor(frame).shape
        if len(self.graph.inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
            raise UserError(f"{self.path}: not a DeepLab: its input is {list(shape)}, expected [1, height, width, 3]")
        x = self.settle(frame)
        x, _, _ = self.take(self.only_user(x, "the stem"), "stem", "CONV_2D", "relu6", kernel=3, stride=2)
        stem = self.channels("stem")
        blocks, skip, x = self._backbone(x)
        aspp, x = self._aspp(x)
        decoder, x = self._decoder(x, skip)
        index = self.only_user(x, "the logits, a 1x1 convolution")
        x, _, _ = self.take(index, "logits", "CONV_2D", "linear")
        self._end(x, shape[1], shape[2])
        spec = NetworkSpec(
            input_height=shape[1],
            input_width=shape[2],
            classes=self.channels("logits"),
            stem=stem,
            blocks=tuple(blocks),
            aspp=aspp,
            decoder=decoder,
            resize=self.resize or "legacy",
        )
        return Checkpoint(spec, self.weights, {"source": Path(self.path).name})

    def _is_block_start(self, tensor: int) -> int | None:
        """The operator that begins a further inverted residual at `tensor`, if one does."""
        for index in self.users(tensor, "an inverted residual or the ASPP"):
            operator = self.operator(index)
            if operator.kind == "DEPTHWISE_CONV_2D" and self.clamps_like(index, "relu6"):
                return index
            if operator.kind == "CONV_2D" and self.clamps_like(index, "relu6"):
                following = self.consumers[self.output(index)]
                if any(self.operator(user).kind == "DEPTHWISE_CONV_2D" for user in following):
                    return index
        return None

    def _backbone(self, x: int) -> tuple[list[Block], tuple[int, SkipTap, int] | None, int]:
        """All inverted residuals; returns (blocks, (block, tap, operator) of the skip, feature tensor)."""
        blocks: list[Block] = []
        skip: tuple[int, SkipTap, int] | None = None
        start = self._is_block_start(x)
        if start is None:
            self.refuse(self.users(x, "an inverted residual")[0], "an inverted residual after the stem")
        while start is not None:
            name, source = f"block_{len(blocks)}", x
            expand = 0
            index = start
            if self.operator(index).kind == "CONV_2D":
                x, _, _ = self.take(index, f"{name}/expand", "CONV_2D", "relu6")
                expand = self.channels(f"{name}/expand")
                index = self._main_path(x, "DEPTHWISE_CONV_2D", f"{name}/depthwise")
                skip = self._side_path(x, index, len(blocks), "expand", skip)
            x, stride, dilation = self.take(
                index, f"{name}/depthwise", "DEPTHWISE_CONV_2D", "relu6", kernel=3, stride=None
            )
            index = self._projection(x, f"{name}/project")
            skip = self._side_path(x, index, len(blocks), "depthwise", skip)
            x, _, _ = self.take(index, f"{name}/project", "CONV_2D", "linear")
            additions = [user for user in self.consumers[x] if self.operator(user).kind == "ADD"]
            residual = any(source in map(self.settle, self.operator(user).inputs) for user in additions)
            if residual:
                x = self.output(additions[0])
            blocks.append(Block(expand, self.channels(f"{name}/project"), stride, dilation, residual))
            start = self._is_block_start(x)
            if start is not None:
                for user in self.consumers[x]:
                    if user != start and self.operator(user).kind != "ADD":
                        skip = self._one_skip((len(blocks) - 1, "project", user), skip)
        return blocks, skip, x

    def _main_path(self, tensor: int, kind: str, layer: str) -> int:
        fitting = [user for user in self.users(tensor, layer) if self.operator(user).kind == kind]
        if not fitting:
            self.refuse(self.consumers[tensor][0], f"{kind} for layer {layer}")
        return fitting[0]

    def _projection(self, tensor: int, layer: str) -> int:
        """The projection of a block: of the 1x1 convolutions on its depthwise output, the one without clamp."""
        for user in self.users(tensor, layer):
            if self.operator(user).kind == "CONV_2D" and not self.clamps_like(user, "relu"):
                return user
        self.refuse(self.consumers[tensor][0], f"a linear 1x1 CONV_2D for layer {layer}")

    def _side_path(
        self, tensor: int, main: int, block: int, tap: SkipTap, skip: tuple[int, SkipTap, int] | None
    ) -> tuple[int, SkipTap, int] | None:
        for user in self.consumers[tensor]:
            if user != main:
                skip = self._one_skip((block, tap, user), skip)
        return skip

    def _one_skip(
        self, found: tuple[int, SkipTap, int], skip: tuple[int, SkipTap, int] | None
    ) -> tuple[int, SkipTap, int]:
        if skip is not None:
            self.refuse(found[2], f"one skip connection, but block {skip[0]} has one already")
        return found

    def _aspp(self, features: int) -> tuple[Aspp, int]:
        pool = pointwise = 0
        pool_end = pointwise_end = None
        atrous: list[AtrousBranch] = []
        atrous_ends: list[int] = []
        users = self.users(features, "the ASPP")
        for index in users:
            kind = self.operator(index).kind
            if kind in ("AVERAGE_POOL_2D", "MEAN"):
                x = self.global_pool(index)
                x, _, _ = self.take(self.only_user(x, "a 1x1"), "aspp/pool/pointwise", "CONV_2D", "relu")
                pool = self.channels("aspp/pool/pointwise")
                pool_end = self.resized(x, "the image-pooling branch's resize")
            elif kind == "CONV_2D" and not pointwise:
                pointwise_end, _, _ = self.take(index, "aspp/pointwise", "CONV_2D", "relu")
                pointwise = self.channels("aspp/pointwise")
            else:
                name = f"aspp/atrous_{len(atrous)}"
                x, _, rate = self.take(index, f"{name}/depthwise", "DEPTHWISE_CONV_2D", "relu", kernel=3)
                x, _, _ = self.take(self.only_user(x, "a 1x1"), f"{name}/pointwise", "CONV_2D", "relu")
                atrous.append(AtrousBranch(rate, self.channels(f"{name}/pointwise")))
                atrous_ends.append(x)
        if pointwise_end is None:
            self.refuse(users[0], "an ASPP with a 1x1 branch")
        branches = [end for end in (pool_end, pointwise_end, *atrous_ends) if end is not None]
        x = self.concatenated(branches) if len(branches) > 1 else branches[0]
        x, _, _ = self.take(self.only_user(x, "the ASPP's projection"), "aspp/project", "CONV_2D", "relu")
        return Aspp(pool, pointwise, tuple(atrous), self.channels("aspp/project")), x

    def _decoder(self, x: int, skip: tuple[int, SkipTap, int] | None) -> tuple[Decoder | None, int]:
        if skip is None:
            return None, x
        block, tap, index = skip
        skip_end, _, _ = self.take(index, "decoder/skip", "CONV_2D", "relu")
        x = self.concatenated([self.resized(x, "the decoder's resize"), skip_end])
        widths: list[int] = []
        while self.operator(index := self.only_user(x, "the decoder")).kind == "DEPTHWISE_CONV_2D":
            name = f"decoder/refine_{len(widths)}"
            x, _, _ = self.take(index, f"{name}/depthwise", "DEPTHWISE_CONV_2D", "relu", kernel=3)
            x, _, _ = self.take(self.only_user(x, "a 1x1"), f"{name}/pointwise", "CONV_2D", "relu")
            widths.append(self.channels(f"{name}/pointwise"))
        return Decoder(block, tap, self.channels("decoder/skip"), tuple(widths)), x

    def _end(self, logits: int, height: int, width: int) -> None:
        """Logits at the image's size, then at most SOFTMAX and ARG_MAX."""
        x = self.resized(logits, "the resize of the logits to the image's size")
        if self.tensor(x).shape[1:3] != (height, width):
            self.refuse_end(x, f"logits of {height} x {width}, the size of the image")
        while users := self.consumers[x]:
            if self.operator(users[0]).kind not in ("ARG_MAX", "SOFTMAX") or len(users) > 1:
                self.refuse(users[0], "ARG_MAX or the end of the network")
            x = self.output(users[0])
