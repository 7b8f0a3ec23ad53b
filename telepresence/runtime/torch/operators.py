"""ONNX operators in torch: what the engines' graphs are made of (opset 18), with static shapes.

A function takes the node's inputs as tensors (None where one is left out) and its attributes. Shapes, axes and counts
come as tensors that are constants and lie in the host's memory, so that nothing waits for the GPU.
Definitions: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

Attributes = dict[str, Any]
Operator = Callable[[Sequence[Tensor | None], Attributes], Tensor | tuple[Tensor, ...]]

HOST_INPUTS: Final = {
    "Expand": (1,), "Pad": (1, 2, 3), "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,), "ReduceSum": (1,),
    "Reshape": (1,), "Resize": (2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,),
    "TopK": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Which inputs of an operator must be constants in the host's memory."""

# onnx.TensorProto.DataType
TYPES: Final = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16,
    11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip


def _numbers(tensor: Any) -> list[int]:
    return [int(value) for value in tensor.reshape(-1).tolist()]


def _elementwise(function: Callable[..., Any]) -> Operator:
    return lambda given, attributes: function(*given)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def run(given: Sequence[Any], attributes: Attributes) -> Tensor:
        result: Tensor = given[0]
        for other in given[1:]:
            result = function(result, other)
        return result

    return run


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def run(given: Sequence[Any], attributes: Attributes) -> Tensor:
        axes = _numbers(given[1]) if len(given) > 1 and given[1] is not None else attributes.get("axes")
        if not axes:
            if attributes.get("noop_with_empty_axes"):
                return given[0]  # type: ignore[no-any-return]
            axes = list(range(given[0].dim()))
        return function(given[0], dim=tuple(axes), keepdim=bool(attributes.get("keepdims", 1)))

    return run


def _div(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    return a @ b


def _gather(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, indices = given
    axis = attributes.get("axis", 0) % data.dim()
    indices = torch.where(indices < 0, indices + data.shape[axis], indices)
    found = data.index_select(axis, indices.reshape(-1))
    return found.reshape((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))  # type: ignore[no-any-return]


def _gather_nd(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, indices = given
    batch = attributes.get("batch_dims", 0)
    depth = indices.shape[-1]
    lead = [
        torch.arange(length, device=data.device).reshape(length, *[1] * (indices.dim() - 2 - axis))
        for axis, length in enumerate(indices.shape[:batch])
    ]
    return data[(*lead, *(indices[..., i] for i in range(depth)))]  # type: ignore[no-any-return]


def _gather_elements(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, indices = given
    axis = attributes.get("axis", 0)
    return torch.gather(data, axis, torch.where(indices < 0, indices + data.shape[axis], indices))


def _slice(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, starts, ends = given[:3]
    axes = _numbers(given[3]) if len(given) > 3 and given[3] is not None else range(len(_numbers(starts)))
    steps = _numbers(given[4]) if len(given) > 4 and given[4] is not None else [1] * len(_numbers(starts))
    for axis, start, end, step in zip(axes, _numbers(starts), _numbers(ends), steps, strict=True):
        picked = range(data.shape[axis])[slice(start, end if step > 0 or end >= -data.shape[axis] else None, step)]
        if step > 0:
            data = data.narrow(axis, picked.start, max(0, picked.stop - picked.start))
            data = data if step == 1 else data[(slice(None),) * (axis % data.dim()) + (slice(None, None, step),)]
        else:
            data = data.index_select(axis, torch.arange(picked.start, picked.stop, picked.step, device=data.device))
    return data  # type: ignore[no-any-return]


def _reshape(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, shape = given[0], _numbers(given[1])
    if not attributes.get("allowzero"):
        shape = [data.shape[axis] if length == 0 else length for axis, length in enumerate(shape)]
    return data.reshape(shape)  # type: ignore[no-any-return]


def _squeeze(given: Sequence[Any], attributes: Attributes) -> Tensor:
    axes = _numbers(given[1]) if len(given) > 1 and given[1] is not None else None
    return given[0].squeeze() if axes is None else given[0].squeeze(tuple(axes))  # type: ignore[no-any-return]


def _unsqueeze(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, axes = given[0], _numbers(given[1])
    rank = data.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data  # type: ignore[no-any-return]


def _split(given: Sequence[Any], attributes: Attributes) -> tuple[Tensor, ...]:
    data, axis = given[0], attributes.get("axis", 0)
    if len(given) > 1 and given[1] is not None:
        return torch.split(data, _numbers(given[1]), axis)
    count = attributes["num_outputs"]
    return torch.split(data, -(-data.shape[axis] // count), axis)


def _clip(given: Sequence[Any], attributes: Attributes) -> Tensor:
    low = given[1] if len(given) > 1 else None
    high = given[2] if len(given) > 2 else None
    return torch.clamp(given[0], low, high)


def _topk(given: Sequence[Any], attributes: Attributes) -> tuple[Tensor, ...]:
    largest = bool(attributes.get("largest", 1))
    (count,) = _numbers(given[1])
    found = torch.topk(given[0], count, attributes.get("axis", -1), largest, bool(attributes.get("sorted", 1)))
    return found.values, found.indices


def _arg(function: Callable[..., Tensor]) -> Operator:
    def run(given: Sequence[Any], attributes: Attributes) -> Tensor:
        return function(given[0], dim=attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1)))

    return run


def _conv(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, weight = given[:2]
    bias = given[2] if len(given) > 2 else None
    rank = data.dim() - 2
    pads = attributes.get("pads", [0] * 2 * rank)
    begin, end = pads[:rank], pads[rank:]
    if begin != end:
        data = functional.pad(data, [side for pair in zip(begin[::-1], end[::-1], strict=True) for side in pair])
        begin = [0] * rank
    function: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    strides, dilations = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    rest = (strides, begin, dilations, attributes.get("group", 1))
    if data.dtype == torch.float16 and data.device.type == "cpu":
        # sums in float32 and rounds once, as a GPU does, and takes a twentieth of the time
        exact = function(data.float(), weight.float(), None if bias is None else bias.float(), *rest)
        return exact.half()  # type: ignore[no-any-return]
    return function(data, weight, bias, *rest)  # type: ignore[no-any-return]


def _gemm(given: Sequence[Any], attributes: Attributes) -> Tensor:
    a = given[0].T if attributes.get("transA") else given[0]
    b = given[1].T if attributes.get("transB") else given[1]
    product = (a @ b) * attributes.get("alpha", 1.0)
    rest = given[2] if len(given) > 2 else None
    return product if rest is None else product + rest * attributes.get("beta", 1.0)  # type: ignore[no-any-return]


def _resize(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data = given[0]
    sizes = given[3] if len(given) > 3 else None
    if sizes is not None:
        target = _numbers(sizes)[-2:]
    else:
        scales = given[2].tolist()
        target = [round(length * scale) for length, scale in zip(data.shape[-2:], scales[-2:], strict=True)]
    mode = attributes.get("mode", "nearest")
    how = attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode == "linear" and how in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return functional.interpolate(data, target, mode="bilinear", align_corners=how == "align_corners")
    if mode == "nearest" and how == "asymmetric" and attributes.get("nearest_mode", "round_prefer_floor") == "floor":
        return functional.interpolate(data, target, mode="nearest")
    whole = all(new % old == 0 for new, old in zip(target, data.shape[-2:], strict=True))
    if mode == "nearest" and whole:
        return functional.interpolate(data, target, mode="nearest")
    raise NotImplementedError(f"Resize with mode {mode!r}, {how!r}")


def _grid_sample(given: Sequence[Any], attributes: Attributes) -> Tensor:
    mode = str(attributes.get("mode", "linear"))
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    padding = attributes.get("padding_mode", "zeros")
    return functional.grid_sample(
        given[0], given[1], mode=mode, padding_mode=padding, align_corners=bool(attributes.get("align_corners", 0))
    )


def _average_pool(given: Sequence[Any], attributes: Attributes) -> Tensor:
    kernel, pads = attributes["kernel_shape"], attributes.get("pads", [0, 0, 0, 0])
    if attributes.get("ceil_mode") or any(pads):
        raise NotImplementedError("AveragePool with padding")
    return functional.avg_pool2d(given[0], kernel, attributes.get("strides", [1, 1]))


def _max_pool(given: Sequence[Any], attributes: Attributes) -> Tensor:
    kernel, pads = attributes["kernel_shape"], attributes.get("pads", [0, 0, 0, 0])
    if attributes.get("ceil_mode") or pads[:2] != pads[2:]:
        raise NotImplementedError("MaxPool with uneven padding")
    return functional.max_pool2d(given[0], kernel, attributes.get("strides", [1, 1]), pads[:2])


def _depth_to_space(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, block = given[0], attributes["blocksize"]
    if attributes.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(data, block)
    n, c, h, w = data.shape
    parts = data.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // block**2, h * block, w * block)  # type: ignore[no-any-return]


def _pad(given: Sequence[Any], attributes: Attributes) -> Tensor:
    data, pads = given[0], _numbers(given[1])
    axes = _numbers(given[3]) if len(given) > 3 and given[3] is not None else list(range(data.dim()))
    mode = str(attributes.get("mode", "constant"))
    whole = [0] * 2 * data.dim()
    for place, axis in enumerate(axes):
        back = data.dim() - 1 - axis % data.dim()
        whole[2 * back], whole[2 * back + 1] = pads[place], pads[place + len(axes)]
    if mode == "constant":
        value = float(given[2]) if len(given) > 2 and given[2] is not None else 0.0
        return functional.pad(data, whole, value=value)
    while len(whole) > 4 and whole[-2:] == [0, 0]:
        whole = whole[:-2]
    return functional.pad(data, whole, mode="replicate" if mode == "edge" else mode)


def _instance_norm(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return functional.instance_norm(given[0], weight=given[1], bias=given[2], eps=attributes.get("epsilon", 1e-5))


def _cast(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return given[0].to(TYPES[attributes["to"]])  # type: ignore[no-any-return]


def _softmax(function: Callable[..., Tensor]) -> Operator:
    return lambda given, attributes: function(given[0], dim=attributes.get("axis", -1))


def _leaky_relu(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return functional.leaky_relu(given[0], attributes.get("alpha", 0.01))


def _transpose(given: Sequence[Any], attributes: Attributes) -> Tensor:
    order = attributes.get("perm", list(range(given[0].dim()))[::-1])
    return given[0].permute(order)  # type: ignore[no-any-return]


def _concat(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return torch.cat(list(given), attributes["axis"])


def _expand(given: Sequence[Any], attributes: Attributes) -> Tensor:
    shape = torch.broadcast_shapes(given[0].shape, tuple(_numbers(given[1])))  # type: ignore[no-untyped-call]
    return given[0].expand(shape)  # type: ignore[no-any-return]


def _tile(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return given[0].repeat(_numbers(given[1]))  # type: ignore[no-any-return]


def _global_average(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return given[0].mean(tuple(range(2, given[0].dim())), keepdim=True)  # type: ignore[no-any-return]


_ELEMENTWISE: Final[dict[str, Any]] = {
    "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "Ceil": torch.ceil, "Cos": torch.cos,
    "Div": _div, "Equal": torch.eq, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor,
    "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Identity": lambda x: x, "Less": torch.lt,
    "LessOrEqual": torch.le, "Log": torch.log, "MatMul": _matmul, "Mul": torch.mul, "Neg": torch.neg,
    "Not": torch.logical_not, "Or": torch.logical_or, "Pow": torch.pow, "Reciprocal": torch.reciprocal,
    "Relu": torch.relu, "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin,
    "Sqrt": torch.sqrt, "Sub": torch.sub, "Tanh": torch.tanh, "Where": torch.where,
}  # fmt: skip

OPERATORS: Final[dict[str, Operator]] = {
    **{name: _elementwise(function) for name, function in _ELEMENTWISE.items()},
    "ArgMax": _arg(torch.argmax), "ArgMin": _arg(torch.argmin), "AveragePool": _average_pool, "Cast": _cast,
    "Clip": _clip, "Concat": _concat, "Conv": _conv, "DepthToSpace": _depth_to_space, "Expand": _expand,
    "Gather": _gather, "GatherElements": _gather_elements, "GatherND": _gather_nd, "Gemm": _gemm,
    "GlobalAveragePool": _global_average, "GridSample": _grid_sample, "InstanceNormalization": _instance_norm,
    "LeakyRelu": _leaky_relu, "LogSoftmax": _softmax(torch.log_softmax), "Max": _folded(torch.maximum),
    "MaxPool": _max_pool, "Min": _folded(torch.minimum), "Pad": _pad, "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean), "ReduceMin": _reduced(torch.amin), "ReduceSum": _reduced(torch.sum),
    "Reshape": _reshape, "Resize": _resize, "Slice": _slice, "Softmax": _softmax(torch.softmax), "Split": _split,
    "Squeeze": _squeeze, "Tile": _tile, "TopK": _topk, "Transpose": _transpose, "Unsqueeze": _unsqueeze,
}  # fmt: skip
