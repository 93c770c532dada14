"""What numba does not say itself: arrays without counted references, and rows asked for before they are read."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


def _borrowed(context: Any, array: Any) -> Any:  # noqa: ARG001 (numba's shape of an intrinsic)
    """The same array without an owner; whoever called the kernel keeps it alive.

    Each call that is handed an array counts a reference up and down, at several nanoseconds: a dozen such calls cost
    more than all that happens at a bar. Without an owner there is nothing to count, and the compiler drops it.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()  # noqa: SLF001 (numba's way to end such a function)

    return array(array), generate


borrowed: Any = intrinsic(_borrowed)


def _fetched(context: Any, array: Any, row: Any) -> Any:  # noqa: ARG001 (as above)
    """Asks memory for a row that may be read soon: nothing waits for it, and a row beyond the end does no harm."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.bitcast(builder.gep(view.data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(instruction, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


fetched: Any = intrinsic(_fetched)
