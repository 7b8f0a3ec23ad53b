"""The choice of a runtime, with runtimes and a clock that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from telepresence.errors import EngineError
from telepresence.runtime.choose import MAX_ENTRIES, MAX_MEASURE_S, MIN_ROUNDS, Chooser, recall, remember
from telepresence.runtime.contract import Session


class Clock:
    """Seconds, moved by those who take time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """A runtime and, once loaded, an engine in it."""

    def __init__(self, name: str, clock: Clock, ms: float = 1, *, missing: bool = False, broken: bool = False) -> None:
        self.name, self.version = name, "1.0"
        self.clock, self.ms, self.missing, self.broken = clock, ms, missing, broken
        self.fails_in_trial = False
        self.trials = 0
        self.open = False

    def available(self) -> str | None:
        return f"pip install {self.name}" if self.missing else None

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        raise NotImplementedError

    def loaded(self) -> Fake:
        if self.broken:
            raise EngineError(f"{self.name} cannot load it")
        self.open = True
        return self

    def trial(self) -> None:
        if self.fails_in_trial:
            raise EngineError(f"{self.name} failed while computing")
        self.trials += 1
        self.clock.now += self.ms / 1e3

    def close(self) -> None:
        self.open = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "runtime.json"


def chooser(memory: Path, *runtimes: Fake, extra: tuple[Fake, ...] = ()) -> Chooser[Fake]:
    return Chooser(runtimes, lambda runtime: runtime.loaded(), "key", memory, extra, runtimes[0].clock)  # type: ignore[attr-defined]


def test_takes_the_faster_and_says_why(clock: Clock, memory: Path) -> None:
    slow, fast = Fake("slow", clock, 9), Fake("fast", clock, 4)
    choice = chooser(memory, slow, fast).choose()
    assert choice.runtime == "fast"
    assert choice.loaded is fast
    assert "fast 1.0" in choice.reason
    assert "4.0 ms a picture against slow 9.0 ms, measured now" in choice.reason
    assert choice.warnings == ()
    assert fast.open
    assert not slow.open


def test_remembers(clock: Clock, memory: Path) -> None:
    chooser(memory, Fake("slow", clock, 9), Fake("fast", clock, 4)).choose()
    slow, fast = Fake("slow", clock, 1), Fake("fast", clock, 99)
    choice = chooser(memory, slow, fast).choose()
    assert choice.runtime == "fast"
    assert "measured earlier" in choice.reason
    assert choice.measured_ms == {"slow": 9.0, "fast": 4.0}
    assert slow.trials == fast.trials == 0
    assert not slow.open


def test_remembers_without_one_that_is_optional(clock: Clock, memory: Path) -> None:
    for _ in range(2):
        picky, fast = Fake("picky", clock, 1, broken=True), Fake("fast", clock, 4)
        choosing = chooser(memory, picky, fast, Fake("slow", clock, 9))
        choosing.optional = ["picky"]
        choice = choosing.choose()
        assert choice.runtime == "fast"
    assert "measured earlier" in choice.reason
    assert choice.warnings == ()  # said once, at the first use


def test_another_key_measures_again(clock: Clock, memory: Path) -> None:
    remember(memory, "another engine", {"slow": 1.0, "fast": 2.0})
    assert chooser(memory, Fake("slow", clock, 9), Fake("fast", clock, 4)).choose().runtime == "fast"
    assert recall(memory, "another engine") == {"slow": 1.0, "fast": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "null",
        '{"version": 2}',
        '{"version": 1, "choices": {"key": {"slow": 1.0}}}',
        '{"version": 2, "choices": {"key": "slow"}}',
        '{"version": 2, "choices": {"key": {"slow": "1"}}}',
        '{"version": 2, "choices": {"key": {"slow": -1}}}',
        '{"version": 2, "choices": {"key": {"slow": NaN}}}',
        '{"version": 2, "choices": {"key": {"slow": true}}}',
        '{"version": 2, "choices": {"key": {"gone": 1.0}}}',
        '{"version": 2, "choices": {"key": {"slow": 1.0}}}' + " " * 300_000,
        "\udcff\udcfe",
    ],
    ids=range(15),
)
def test_damaged_memory_is_ignored_and_made_anew(clock: Clock, memory: Path, text: str) -> None:
    memory.parent.mkdir()
    memory.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert chooser(memory, Fake("slow", clock, 9), Fake("fast", clock, 4)).choose().runtime == "fast"
    assert json.loads(memory.read_bytes())["choices"]["key"] == {"slow": 9.0, "fast": 4.0}
    assert list(memory.parent.iterdir()) == [memory]


def test_memory_that_cannot_be_written_does_no_harm(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    choice = chooser(tmp_path / "file" / "runtime.json", Fake("slow", clock, 9), Fake("fast", clock, 4)).choose()
    assert choice.runtime == "fast"


def test_memory_is_bounded(memory: Path) -> None:
    for number in range(MAX_ENTRIES + 5):
        remember(memory, str(number), {"fast": 1.0})
    assert recall(memory, "4") == {}
    assert recall(memory, "5") == {"fast": 1.0}


def test_asked_for(clock: Clock, memory: Path) -> None:
    slow, fast, exact = Fake("slow", clock, 9), Fake("fast", clock, 4), Fake("exact", clock, 50)
    choice = chooser(memory, slow, fast, extra=(exact,)).choose("exact")
    assert choice.runtime == "exact"
    assert "asked for" in choice.reason
    assert exact.trials == 0
    assert not memory.exists()


def test_extra_is_never_chosen_by_itself(clock: Clock, memory: Path) -> None:
    slow, fast, inexact = Fake("slow", clock, 9), Fake("fast", clock, 4), Fake("x", clock, 1)
    choice = chooser(memory, slow, fast, extra=(inexact,)).choose("auto")
    assert choice.runtime == "fast"
    assert "x" not in choice.measured_ms


def test_unknown_name_lists_the_names(clock: Clock, memory: Path) -> None:
    with pytest.raises(EngineError, match="no runtime 'quick'; choose auto or one of: slow, fast"):
        chooser(memory, Fake("slow", clock), Fake("fast", clock)).choose("quick")


@pytest.mark.parametrize("fault", ["missing", "broken"])
def test_asked_for_but_unusable_falls_back_loudly(clock: Clock, memory: Path, fault: str) -> None:
    wanted = Fake("wanted", clock, 1, missing=fault == "missing", broken=fault == "broken")
    choice = chooser(memory, wanted, Fake("other", clock, 2)).choose("wanted")
    assert choice.runtime == "other"
    assert "only runtime that can be used" in choice.reason
    assert len(choice.warnings) == 1
    assert choice.warnings[0].startswith("wanted cannot be used: ")
    assert not memory.exists()  # what was not compared is not remembered


def test_missing_runtime_is_said(clock: Clock, memory: Path) -> None:
    choice = chooser(memory, Fake("a", clock, missing=True), Fake("b", clock)).choose()
    assert choice.runtime == "b"
    assert choice.warnings == ("a cannot be used: pip install a",)


def test_remembered_runtime_fails(clock: Clock, memory: Path) -> None:
    remember(memory, "key", {"a": 1.0, "b": 2.0})
    choice = chooser(memory, Fake("a", clock, broken=True), Fake("b", clock)).choose()
    assert choice.runtime == "b"
    assert choice.warnings == ("a cannot be used: a cannot load it",)


def test_failure_while_measuring(clock: Clock, memory: Path) -> None:
    a, b = Fake("a", clock, 1), Fake("b", clock, 2)
    a.fails_in_trial = True
    choice = chooser(memory, a, b).choose()
    assert choice.runtime == "b"
    assert "failed while computing" in choice.warnings[0]
    assert not a.open
    assert not memory.exists()


def test_nothing_works(clock: Clock, memory: Path) -> None:
    a, b = Fake("a", clock, missing=True), Fake("b", clock, broken=True)
    with pytest.raises(EngineError, match=r"can execute the engine: a cannot be used: pip .*; b cannot be used"):
        chooser(memory, a, b).choose()
    c, d = Fake("c", clock), Fake("d", clock)
    c.fails_in_trial = d.fails_in_trial = True
    with pytest.raises(EngineError, match=r"c failed.*d failed"):
        chooser(memory, c, d).choose()
    assert not c.open
    assert not d.open


def test_slow_machine_measures_less(clock: Clock, memory: Path) -> None:
    a, b = Fake("a", clock, 1e3 * MAX_MEASURE_S), Fake("b", clock, 1)
    assert chooser(memory, a, b).choose().runtime == "b"
    assert MIN_ROUNDS <= a.trials <= 2 * MIN_ROUNDS


def test_cpu_time_is_compared_where_it_is_told(clock: Clock, memory: Path) -> None:
    spent = Clock()

    class Interrupted(Fake):
        def trial(self) -> None:
            super().trial()
            self.clock.now += 0.05
            spent.now += self.ms / 1e3

    choosing = chooser(memory, Interrupted("a", clock, 3), Interrupted("b", clock, 2))
    choosing.cost = spent
    choice = choosing.choose()
    assert choice.measured_ms == {"a": 3.0, "b": 2.0}
    assert "b 1.0 on the CPU" in choice.reason
    assert "2.0 ms of CPU time a picture against a 3.0 ms, measured now" in choice.reason


def test_a_busy_machine_is_forgiven(clock: Clock, memory: Path) -> None:
    class Interrupted(Fake):
        def trial(self) -> None:
            super().trial()
            self.clock.now += 0.0 if self.trials % 5 == 0 else 0.05

    choice = chooser(memory, Interrupted("a", clock, 1), Fake("b", clock, 2)).choose()
    assert choice.measured_ms == {"a": 1.0, "b": 2.0}


def with_gpu(memory: Path, first: list[Fake], *runtimes: Fake, unready: tuple[Fake, ...] = ()) -> Chooser[Fake]:
    made = chooser(memory, *runtimes)
    made.first = first
    made.ready = lambda runtime: runtime not in unready
    return made


def test_a_gpu_is_taken_first_and_not_measured(clock: Clock, memory: Path) -> None:
    best, second, cpu = Fake("best", clock, 99), Fake("second", clock, 98), Fake("cpu", clock, 1)
    choice = with_gpu(memory, [best, second], cpu).choose()
    assert choice.runtime == "best"
    assert "best 1.0 on the GPU: the best for a GPU" in choice.reason
    assert (best.trials, cpu.trials, second.open) == (0, 0, False)


def test_a_gpu_that_fails_is_said_and_the_next_taken(clock: Clock, memory: Path) -> None:
    best, second, cpu = Fake("best", clock, broken=True), Fake("second", clock, missing=True), Fake("cpu", clock)
    choice = with_gpu(memory, [best, second], cpu).choose()
    assert choice.runtime == "cpu"
    assert choice.warnings == (
        "best cannot be used: best cannot load it",
        "second cannot be used: pip install second",
    )


def test_what_must_compile_first_comes_later(clock: Clock, memory: Path) -> None:
    best, second, cpu = Fake("best", clock), Fake("second", clock), Fake("cpu", clock)
    choice = with_gpu(memory, [best, second], cpu, unready=(best,)).choose()
    assert (choice.runtime, choice.later) == ("second", best)
    choice = with_gpu(memory, [best, second], cpu, unready=(best, second)).choose()
    assert (choice.runtime, choice.later) == ("cpu", best)
    assert choice.warnings == ()


def test_asked_for_and_must_compile_first(clock: Clock, memory: Path) -> None:
    best, second, cpu = Fake("best", clock), Fake("second", clock), Fake("cpu", clock)
    choice = with_gpu(memory, [best, second], cpu, unready=(second,)).choose("second")
    assert (choice.runtime, choice.later) == ("best", second)  # another of the GPU draws meanwhile
    choice = with_gpu(memory, [second], cpu, unready=(second,)).choose("second")
    assert (choice.runtime, choice.later) == ("cpu", second)
    assert with_gpu(memory, [best, second], cpu).choose("second").runtime == "second"


@pytest.mark.parametrize("requested", [None, "best"])
def test_a_gpu_whose_installation_is_broken_does_not_end_the_start(
    clock: Clock, memory: Path, requested: str | None
) -> None:
    class Broken(Fake):
        def available(self) -> str | None:
            raise OSError("libcudart.so is damaged")

    choice = with_gpu(memory, [Broken("best", clock)], Fake("cpu", clock)).choose(requested)
    assert choice.runtime == "cpu"
    assert choice.warnings[0] == "best cannot be used: its installation is broken (libcudart.so is damaged)"


@pytest.mark.parametrize("requested", [None, "best"])
def test_a_gpu_that_cannot_say_whether_it_is_ready(clock: Clock, memory: Path, requested: str | None) -> None:
    def ready(runtime: object) -> bool:
        if runtime is best:
            raise RuntimeError("the driver does not answer")
        return True

    best = Fake("best", clock)
    made = with_gpu(memory, [best], Fake("cpu", clock))
    made.ready = ready
    choice = made.choose(requested)
    assert (choice.runtime, choice.later) == ("cpu", best)  # which says why when it is prepared
