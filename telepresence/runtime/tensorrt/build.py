"""Builds plans with TensorRT's own Python API, for 10 and 11 alike: strongly typed, static shapes, no plugins.

A strongly typed network takes every layer's type from the graph, so that nothing but `precision.mixed` decides what is
computed in half precision. TF32 is switched off: with ten bits of mantissa, what says where things are would err.
API: https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from telepresence.errors import EngineError
from telepresence.runtime.contract import Progress, first_line

logger = logging.getLogger(__name__)

WORKSPACE_BYTES: Final = 1024**3  # at most; what the plan needs in the end is a fraction of it
OPTIMIZATION_LEVEL: Final = 3  # TensorRT's own default; 4 and 5 compare more kernels, which takes minutes
_KEPT_MESSAGES: Final = 20


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, and what was measured while it was built."""

    plan: bytes
    timings: bytes
    """For the next build on such a GPU; empty if there is nothing to keep."""


@dataclass(slots=True)
class Messages:
    """What TensorRT logged, so that an error can say it."""

    errors: list[str] = field(default_factory=list)

    def add(self, severity: str, message: str) -> None:
        """Take a line of TensorRT's log; `severity` is the name of an ILogger.Severity."""
        if severity in ("INFO", "VERBOSE"):  # thousands of lines a build
            return
        if severity in ("INTERNAL_ERROR", "ERROR"):
            self.errors.append(message)
            del self.errors[:-_KEPT_MESSAGES]
        logger.debug("TensorRT %s: %s", severity, message)

    def refuse(self, what: str, *made: Any) -> None:
        """Raise EngineError if anything went wrong so far, although TensorRT gave something that looks well.

        TensorRT 11.4 on a machine without a driver that suits it says so in its log, gives a runtime all the same, and
        that ends the process with a segmentation fault when it reads a plan, or when it is freed. So it never is.
        """
        if self.errors:
            for thing in made:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
            raise EngineError(f"{what}: {self.why('')}")

    def why(self, otherwise: str) -> str:
        """What went wrong, in a line for people."""
        text = " ".join(self.errors).lower()
        if any(sign in text for sign in ("out of memory", "outofmemory", "memory allocation", "failed to allocate")):
            return "not enough GPU memory; end other programs that use the GPU, or choose --size 256"
        if "insufficient" in text and "driver" in text:
            return "the NVIDIA driver is too old for this TensorRT; update it (nvidia.com/drivers)"
        return first_line(RuntimeError(self.errors[0])) if self.errors else otherwise


def make_logger(trt: Any, messages: Messages) -> Any:
    """A logger for TensorRT that prints nothing; keep it as long as what was made with it."""

    class _Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            messages.add(severity.name, message)

    return _Logger()


def build_plan(
    trt: Any, model: bytes, *, compatibility: str = "none", timings: bytes = b"", progress: Progress | None = None
) -> Built:
    """Compile a graph for this machine's GPU. Blocks for minutes; other threads go on.

    Args:
        trt: the module tensorrt.
        model: an ONNX file's bytes, as `precision.mixed` made it.
        compatibility: of what else than this GPU and this TensorRT; see `plans.COMPATIBILITIES`.
        timings: what an earlier build has left.
        progress: see contract.Progress.

    Raises:
        EngineError: TensorRT cannot compile it, or `progress` asked to stop; the message says why.
    """
    messages = Messages()
    log = make_logger(trt, messages)
    try:
        builder = trt.Builder(log)
    except Exception as error:  # TypeError from the bindings: the factory gave nothing
        raise EngineError(f"TensorRT cannot use the GPU: {messages.why(first_line(error))}") from error
    messages.refuse("TensorRT cannot use the GPU", builder, log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    # the network points at the weights in the parser's memory: it has to live until the plan is there
    parser = _parse(trt, network, log, model, messages)
    config = builder.create_builder_config()
    _configure(trt, config, compatibility)
    cache = _attach_timings(config, timings)
    messages.errors.clear()  # what it said of timings that do not fit explains no failure
    monitor = _monitor(trt, progress) if progress else None
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    del parser
    if plan is None:
        if monitor is not None and monitor.stopped:
            raise EngineError("the build was stopped")
        raise EngineError(f"TensorRT cannot compile the graph: {messages.why('it does not say why')}")
    return Built(bytes(plan), bytes(cache.serialize()) if cache is not None else b"")


def _parse(trt: Any, network: Any, log: Any, model: bytes, messages: Messages) -> Any:
    """Fill `network`; the parser, which owns its weights. Raises EngineError."""
    parser = trt.OnnxParser(network, log)
    if parser.parse(model):
        return parser
    problems = [parser.get_error(index).desc() for index in range(parser.num_errors)]
    why = first_line(RuntimeError(problems[0])) if problems else messages.why("it does not say why")
    raise EngineError(f"TensorRT cannot read the graph: {why}")


def _configure(trt: Any, config: Any, compatibility: str) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.clear_flag(trt.BuilderFlag.TF32)
    config.builder_optimization_level = OPTIMIZATION_LEVEL
    if compatibility == "version":
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    elif compatibility == "ampere":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif compatibility == "capability":
        level = getattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY", None)
        if level is None:
            raise EngineError("this TensorRT cannot build for a whole compute capability; update it, or choose ampere")
        config.hardware_compatibility_level = level


def _attach_timings(config: Any, timings: bytes) -> Any:
    """The cache that the build fills; None if TensorRT does not want one."""
    cache = config.create_timing_cache(timings)
    if cache is not None and config.set_timing_cache(cache, False):
        return cache
    cache = config.create_timing_cache(b"")  # what is there was made by another version or for another GPU
    return cache if cache is not None and config.set_timing_cache(cache, False) else None


def _monitor(trt: Any, progress: Progress) -> Any:
    class _Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Turns TensorRT's nested phases into one share: the outermost phase's steps and the innermost's name."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped = False
            self._phases: dict[str, tuple[int, int]] = {}  # name -> (steps, done), outermost first

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = (max(1, num_steps), 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._phases:
                self._phases[phase_name] = (self._phases[phase_name][0], step + 1)
            self.stopped = self.stopped or not progress(_share(list(self._phases.values())), phase_name)
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

    return _Monitor()


def _share(phases: list[tuple[int, int]]) -> float:
    """The share that is done, 0-1, of phases within each other, outermost first."""
    share, width = 0.0, 1.0
    for steps, done in phases:
        width /= steps
        share += width * min(done, steps)
    return min(1.0, share)


Build = Callable[..., Built]
