"""What compiled code needs and numba does not offer by name: each becomes an instruction or two."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic

put: Any = tuple_setitem
"""A tuple with one element replaced; called by compiled code only, with one argument less than Python sees."""


def _bits(context: Any, value: Any) -> Any:  # noqa: ARG001 (numba's shape of an intrinsic)
    """The bits of a float, as an integer."""
    return types.int64(types.float64), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(64))


def _float(context: Any, value: Any) -> Any:  # noqa: ARG001 (as above)
    """The float of such bits."""
    return types.float64(types.int64), lambda _, builder, __, args: builder.bitcast(args[0], ir.DoubleType())


def _fetch(context: Any, numbers: Any, index: Any) -> Any:  # noqa: ARG001 (as above)
    """Has a number's line of memory brought into the processor's cache, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        pointer, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, whole, whole, whole])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(instruction, [builder.bitcast(place, pointer), whole(0), whole(3), whole(1)])
        return context.get_dummy_value()

    return types.void(numbers, types.int64), generate


bits_of: Any = intrinsic(_bits)
float_of: Any = intrinsic(_float)
fetch: Any = intrinsic(_fetch)
