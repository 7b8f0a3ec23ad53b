"""The runtime `tensorrt`: plans are built once for a machine, kept, and executed. Imports TensorRT only when used."""

from __future__ import annotations

import hashlib
import importlib
import logging
import threading
from importlib import util
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime.contract import Progress, Session, first_line
from telepresence.runtime.graphfile import specs
from telepresence.runtime.machine import cache_folder, nvidia_driver, package_version
from telepresence.runtime.tensorrt.build import Built, build_plan
from telepresence.runtime.tensorrt.cuda import Cuda, Gpu
from telepresence.runtime.tensorrt.plans import COMPATIBILITIES, PlanCache, PlanKey
from telepresence.runtime.tensorrt.session import PlanError, TensorRtSession

logger = logging.getLogger(__name__)

MAJORS: Final = (10, 11)  # of TensorRT; 8 and 9 lack what is called here
REWRITING: Final = 1  # raise it when precision.mixed makes other graphs of the same ones: plans are then built anew
_INSTALL: Final = "pip install tensorrt-cu13 cuda-bindings onnx (docs/engines.md)"
_PACKAGES: Final = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu13-bindings", "tensorrt-cu12-bindings")
_building = threading.Lock()  # two builds at once would spoil each other's measurements


class TensorRt:
    """See contract.Runtime and contract.Compiling.

    Args:
        precision: "mixed", or "float32" for comparing.
        compatibility: one of `plans.COMPATIBILITIES`; None: builds for exactly this machine, and takes any that fits.
        trt, cuda: stand-ins for the modules tensorrt and cuda.bindings.runtime.
    """

    batches = True

    def __init__(
        self, precision: str = "mixed", compatibility: str | None = None, *, trt: Any = None, cuda: Any = None
    ) -> None:
        self._precision, self._compatibility = precision, compatibility
        self._trt, self._api = trt, cuda
        self.name = "tensorrt" if precision == "mixed" else f"tensorrt-{precision}"

    @property
    def version(self) -> str | None:
        """See Runtime.version."""
        if self._trt is not None:
            return str(self._trt.__version__)
        return next((version for name in _PACKAGES if (version := package_version(name)) is not None), None)

    def available(self) -> str | None:
        """See Runtime.available."""
        if self._trt is None:
            if nvidia_driver() is None:
                return "no NVIDIA driver found; install it from nvidia.com/drivers if this machine has an NVIDIA GPU"
            for module, package in (("tensorrt", "TensorRT"), ("cuda.bindings", "cuda-bindings"), ("onnx", "onnx")):
                if not _installed(module):
                    return f"{package} is not installed; get it with: {_INSTALL}"
        version = self.version
        if version is not None and not _supported(version):
            return f"TensorRT {version} is not supported; get {MAJORS[0]} or {MAJORS[1]} with: {_INSTALL}"
        return None

    def ready(self, path: Path) -> bool:
        """See Compiling.ready."""
        try:
            return any(map(self._cache().has, self._keys(path, Cuda(self._api).gpu())))
        except Exception:  # whatever it is: `build` will meet it, and say so
            return False

    def build(self, path: Path, progress: Progress | None = None) -> None:
        """See Compiling.build."""
        with _building:
            try:
                keys = self._keys(path, self._suitable(Cuda(self._api).gpu()))
                if all(self._cache().read(key) is None for key in keys):
                    self._compiled(path, keys[0], progress)
            except OSError as error:
                raise EngineError(f"{path} cannot be read ({error.strerror})") from error

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        """See Runtime.load. Compiles if there is no plan that can be used."""
        try:
            cuda = Cuda(self._api)
            keys = self._keys(path, self._suitable(cuda.gpu()))
            for key in keys:
                plan = self._cache().read(key)
                if plan is not None:
                    try:
                        return self._open(cuda, path, key, plan)
                    except PlanError as error:  # it passed our checks and not TensorRT's
                        logger.warning("the plan %s is not used: %s", self._cache().path(key), error)
                        self._cache().remove(key)
            with _building:
                plan = self._compiled(path, keys[0], None)
            return self._open(cuda, path, keys[0], plan)
        except EngineError as error:
            raise EngineError(f"{self.name} cannot load {path.name}: {error}") from error
        except Exception as error:
            raise EngineError(f"{self.name} cannot load {path.name}: {first_line(error)}") from error

    @staticmethod
    def _suitable(gpu: Gpu) -> Gpu:
        """Raise EngineError if the installed TensorRT needs a newer driver: it would crash, and not say so."""
        for major in (13, 12):
            if package_version(f"tensorrt-cu{major}-bindings") is not None:
                if gpu.driver < 1000 * major:
                    raise EngineError(
                        f"TensorRT for CUDA {major} is installed, and the NVIDIA driver is for CUDA "
                        f"{gpu.driver // 1000}.{gpu.driver % 1000 // 10}: update the driver (nvidia.com/drivers), or "
                        f"replace it by tensorrt-cu{gpu.driver // 1000}"
                    )
                break
        return gpu

    def _compiled(self, path: Path, key: PlanKey, progress: Progress | None) -> bytes:
        model = self._rewritten(path)
        cache = self._cache()
        built: Built = build_plan(
            self._module(),
            model.SerializeToString(),
            compatibility=key.compatibility,
            timings=cache.timings(key),
            progress=progress,
        )
        cache.write(key, built.plan)
        cache.keep_timings(key, built.timings)
        return built.plan

    def _open(self, cuda: Cuda, path: Path, key: PlanKey, plan: bytes) -> Session:
        import onnx

        from telepresence.runtime.precision import lift_bytes

        graph = onnx.load(str(path)).graph
        inputs, outputs = specs(graph.input), specs(graph.output)
        lifted = dict.fromkeys(lift_bytes(graph), np.dtype(np.float16))  # all that the plan takes otherwise
        host_code = key.compatibility == "version"
        return TensorRtSession(self._module(), cuda, plan, inputs, outputs, lifted, host_code=host_code)

    def _rewritten(self, path: Path) -> Any:
        """What is compiled: onnx.ModelProto."""
        import onnx

        from telepresence.runtime.precision import lift_bytes, mixed

        model = onnx.load(str(path))
        if self._precision == "mixed":
            return mixed(model).model
        lift_bytes(model.graph)
        return model

    def _keys(self, path: Path, gpu: Gpu) -> list[PlanKey]:
        """Of plans that fit, the fastest first; the first is the one to build."""
        with path.open("rb") as file:
            graph = hashlib.file_digest(file, "sha256").hexdigest()
        keys = []
        for compatibility in COMPATIBILITIES if self._compatibility is None else (self._compatibility,):
            version = str(self._module().__version__)
            name, capability = gpu.name, gpu.capability
            if compatibility == "version":
                version = version.partition(".")[0]
            elif compatibility == "capability":
                name = ""
            elif compatibility == "ampere":
                name, capability = "", "8.0"
                if int(gpu.capability.partition(".")[0]) < 8:
                    continue
            keys.append(PlanKey(graph, version, name, capability, self._precision, compatibility, REWRITING))
        if not keys:
            raise EngineError(f"{gpu.name} is older than Ampere; build for it without --compatible ampere")
        return keys

    def _module(self) -> Any:
        if self._trt is None:
            try:
                self._trt = importlib.import_module("tensorrt")
            except Exception as error:  # libraries that do not load raise what they like
                why = first_line(error)
                raise EngineError(f"TensorRT cannot be loaded ({why}); get it with: {_INSTALL}") from error
        version = str(self._trt.__version__)
        if not _supported(version):
            raise EngineError(f"TensorRT {version} is not supported; get {MAJORS[0]} or {MAJORS[1]} with: {_INSTALL}")
        return self._trt

    def _cache(self) -> PlanCache:
        return PlanCache(cache_folder() / "plans")


def _installed(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except (ImportError, AttributeError, ValueError):  # of a module in a package that is missing, or damaged
        return False


def _supported(version: str) -> bool:
    major = version.partition(".")[0]
    return major.isdigit() and int(major) in MAJORS
