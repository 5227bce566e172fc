"""Functions that fill the descriptors of the kernels of the C program.

`evaluation.kernels.selection` selects the kernel of a call; `FILLERS` of each module has a function for each of its
kernels that returns the members of the kernel's struct.
"""

from __future__ import annotations

from deeplab.runtime.layer import Fillers, KernelDescriptor, KernelSite
from deeplab.runtime.layers import (
    broadcasting,
    convolution,
    elementwise,
    floating,
    floating_products,
    functions,
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
from evaluation.kernels.registry import COPY, REGISTRY
from evaluation.kernels.selection import kernel_of
from evaluation.listing import listed

FILLERS: Fillers = {
    **broadcasting.FILLERS,
    **convolution.FILLERS,
    **elementwise.FILLERS,
    **floating.FILLERS,
    **floating_products.FILLERS,
    **functions.FILLERS,
    **layout.FILLERS,
    **low_bit.FILLERS,
    **packed.FILLERS,
    **pointwise.FILLERS,
    **pooling.FILLERS,
    **resize.FILLERS,
    **resize_real.FILLERS,
    **uint8.FILLERS,
    **window_ops.FILLERS,
}


def descriptor_of(site: KernelSite) -> KernelDescriptor:
    """The kernel of a call and the members of its descriptor.

    Raises:
        UserError: the C program has no kernel for the operator or its types; names both.
    """
    operators = site.call.operators
    kernel = kernel_of(site.graph, operators) if operators else COPY
    if kernel is not None:
        return KernelDescriptor(kernel, FILLERS[kernel](site))
    known = sorted("+".join(entry.kinds) for entry in REGISTRY.values() if entry.choices)
    if "+".join(site.kinds) in known:
        known = [f"{'+'.join(site.kinds)} of other types or shapes"]
    types = f"{site.source.dtype} of {site.source.bits} bits to {site.output.dtype} of {site.output.bits}"
    raise site.refused(f"the C program has no kernel for it from {types}; it knows {listed(known)}")
