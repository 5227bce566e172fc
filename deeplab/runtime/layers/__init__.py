"""Which kernel of the C program runs which operator.

Each module offers `LAYERS`: by the kinds of a call's operators, a function that makes the call's layer, or None where
its kernel is not for these types. The first that makes one is taken.
"""

from __future__ import annotations

from deeplab.runtime.layer import KernelDescriptor, KernelSite, Makers
from deeplab.runtime.layers import (
    broadcasting,
    convolution,
    elementwise,
    floating,
    floating_products,
    layout,
    low_bit,
    packed,
    pointwise,
    pooling,
    resize,
    resize_real,
    uint8,
    window_ops,
)
from evaluation.graph.regions import extent
from evaluation.listing import listed

_MODULES: tuple[Makers, ...] = (
    convolution.LAYERS,
    elementwise.LAYERS,
    pooling.LAYERS,
    resize.LAYERS,
    packed.LAYERS,
    low_bit.LAYERS,
    floating.LAYERS,
    floating_products.LAYERS,
    uint8.LAYERS,
    window_ops.LAYERS,
    pointwise.LAYERS,
    broadcasting.LAYERS,
    resize_real.LAYERS,
    layout.LAYERS,
)


def descriptor_of(site: KernelSite) -> KernelDescriptor:
    """The layer of a call.

    Raises:
        UserError: the C program has no kernel for the operator, or not for its types; names it.
    """
    if not site.call.operators:
        channels = extent(site.source)[2]
        return KernelDescriptor("int8/copy", "copy", "copy_layer", {"channels": channels})
    for makers in _MODULES:
        maker = makers.get(site.kinds)
        layer = None if maker is None else maker(site)
        if layer is not None:
            return layer
    known = sorted({"+".join(kinds) for makers in _MODULES for kinds in makers})
    if site.kinds in {kinds for makers in _MODULES for kinds in makers}:
        known = [f"{'+'.join(site.kinds)} of other types or shapes"]
    types = f"{site.source.dtype} of {site.source.bits} bits to {site.output.dtype} of {site.output.bits}"
    raise site.refused(f"the C program has no kernel for it from {types}; it knows {listed(known)}")
