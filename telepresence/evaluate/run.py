"""`telepresence evaluate`: every clip through enrolment, engine and figures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import Avatar
from telepresence.errors import FaceError, InputError, TelepresenceError
from telepresence.evaluate import protocol
from telepresence.evaluate.clips import Clip, Footage, find_clips, scaled
from telepresence.evaluate.driving import drawer, identity_kept, real_neutral, through_motion
from telepresence.evaluate.enrolment import Enrolment
from telepresence.evaluate.faces import eye_opening
from telepresence.evaluate.learned import Learned, frechet
from telepresence.evaluate.measure import Scored, Truth
from telepresence.evaluate.options import PRIOR, Options
from telepresence.evaluate.protocol import Shots, Split
from telepresence.evaluate.report import Report, summarise
from telepresence.evaluate.sheet import Block, Moment, draw_sheet, moments, mosaic, write_blind, write_png
from telepresence.evaluate.tuning import learns_from_references, require_tuning, tune
from telepresence.face.identity import difference
from telepresence.face.matte import Matter
from telepresence.face.tracking import SAME_PERSON
from telepresence.runtime.engine import Engine, find_engine, open_engine

Floats = NDArray[np.float32]
Say = Callable[[str], None]

_NAMED: Final = ("av", "mediapipe", "numpy", "onnxruntime", "opencv-contrib-python", "openvino")


@dataclass
class _Kept:
    """What is still needed of a clip when all have been judged."""

    clip: Clip
    avatar: Avatar
    """Of the most references that were asked for."""
    shape: Floats
    """Neutral shape as real pictures show it."""
    floor: float
    """How far that differs from one half of the clip to the other."""


@dataclass
class _Run:
    """Everything that one evaluation carries from clip to clip."""

    options: Options
    shots: tuple[Shots, ...]
    engines: dict[str, Engine]
    """`engine`, and `prior` where that is another."""
    learned: Learned
    matter: Matter
    report: Report
    say: Say
    blocks: dict[str, list[Block]] = field(default_factory=dict)
    features: dict[tuple[str, str], list[Floats]] = field(default_factory=dict)
    kept: list[_Kept] = field(default_factory=list)


def evaluate(options: Options, say: Say) -> Report:
    """Judge an engine on every clip; write what the options name.

    Args:
        options: what to judge, how, and where to write it.
        say: called with lines of progress.

    Raises:
        InputError: an option cannot be used, or no clip can.
    """
    still = options.fine_tune and learns_from_references(options.engine)
    shots = protocol.parse_shots(options.shots, fine_tune=options.fine_tune, still=still, whole=options.whole)
    options.check()
    if options.whole and not still:
        raise InputError(f"--whole: engine {options.engine!r} keeps its weights; leave --whole out")
    if options.fine_tune:
        require_tuning(options.engine)
    clips, left_out = find_clips(options.clips, everyone=options.everyone, only=options.only)
    learned = Learned(options.weights)
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(options.engine, options.size, runtime=options.runtime))
        engines = {"engine": engine}
        if engine.info.digest != find_engine(PRIOR).digest:
            engines["prior"] = stack.enter_context(open_engine(PRIOR, _prior_size(options), runtime=options.runtime))
        report = Report(_engine(engine), options.protocol(), left_out=left_out, missing=learned.missing)
        run = _Run(options, shots, engines, learned, stack.enter_context(Matter()), report, say)
        for number, clip in enumerate(clips, 1):
            try:
                _clip(run, clip, f"{number}/{len(clips)} {clip.name}")
            except TelepresenceError as error:  # one clip's trouble must not cost the hours of the others
                report.left_out.append({"clip": clip.name, "reason": str(error)})
            _write_json(run)
        if not report.clips:
            raise InputError(f"--clips {options.clips}: no clip can be used: " + _reasons(report))
        _cross(run)
    _summarise(run)
    _write(run)
    return report


def _clip(run: _Run, clip: Clip, label: str) -> None:
    """All shots of one clip.

    Raises:
        TelepresenceError: the clip, or the rest of its shots, cannot be used.
    """
    run.say(f"{label}: faces")
    footage = Footage(clip, run.options.landmarks)
    truths: dict[str, Truth] = {}
    enrolments: dict[tuple[int, ...], Enrolment] = {}
    most: tuple[int, Avatar, Truth] | None = None
    for shots in run.shots:
        parts = protocol.split(shots.split, footage.frames, footage.fps)
        reason = protocol.too_short(shots, parts, footage.seen, footage.fps)
        if reason:
            run.report.left_out.append({"clip": clip.name, "shots": shots.key, "reason": reason})
            continue
        if shots.split not in truths:
            truths[shots.split] = _truth(run, footage, parts)
        candidates = tuple(protocol.candidates(shots, parts, footage.seen))
        if candidates not in enrolments:
            enrolments[candidates] = Enrolment(footage, candidates, run.matter)
        enrolled, frames = enrolments[candidates].avatar(shots.count)
        avatar = enrolled
        with ExitStack() as stack:
            own = run.engines
            if shots.tuned:
                run.say(f"{label}: fine-tuning")
                try:
                    avatar, own = _tuned(run, footage, enrolled, frames, parts, shots, stack)
                except TelepresenceError as error:  # the clip's other shots are of use
                    run.report.left_out.append({"clip": clip.name, "shots": shots.key, "reason": str(error)})
                    continue
            row = _row(run, footage, shots, truths[shots.split], (enrolled, avatar), frames, own)
        run.say(f"{label}: {shots.key}: gap closed {_two(row['gap_closed'])}, prior {_two(row['prior']['gap_closed'])}")
        if not shots.tuned and (most is None or len(avatar.references) > most[0]):
            most = (len(avatar.references), avatar, truths[shots.split])
    if most:
        run.kept.append(_Kept(clip, most[1], *real_neutral(most[2])))


def _truth(run: _Run, footage: Footage, parts: Split) -> Truth:
    test = protocol.judged_frames(footage.seen, parts.test, run.options.frames)
    return Truth(footage, test, protocol.blink_frames(eye_opening(footage.points), parts.test), run.options.size)


def _prior_size(options: Options) -> int:
    """The size asked for, or the prior's next larger one, to be scaled down: other engines draw what it does not."""
    have = find_engine(PRIOR).sizes
    return min((size for size in have if size >= options.size), default=max(have))


def _tuned(
    run: _Run,
    footage: Footage,
    avatar: Avatar,
    frames: list[int],
    parts: Split,
    shots: Shots,
    stack: ExitStack,
) -> tuple[Avatar, dict[str, Engine]]:
    """The avatar of these frames, and the engines that draw it: if `shots` say so one of its own, closed by `stack`."""
    size, options = run.options.size, run.options
    folder = Path(stack.enter_context(TemporaryDirectory())) / "own" if shots.whole else None
    learn = [] if shots.still else [i for i in parts.learn if footage.seen[i]]
    pictures = [picture for _, picture in footage.pictures(learn, size)]
    landmarks = [footage.landmarks(i, size) for i in learn]
    apart = np.abs(np.subtract.outer(learn, frames)).astype(np.float32) / footage.fps
    tuned = tune(
        avatar,
        pictures,
        landmarks,
        engine=options.engine,
        minutes=options.minutes,
        whole=folder,
        from_reference_s=apart,
    )
    if folder is None or tuned is avatar:
        return tuned, run.engines
    own = stack.enter_context(open_engine(folder, size, runtime=run.engines["engine"].runtime_name))
    return tuned, run.engines | {"engine": own}


def _row(
    run: _Run,
    footage: Footage,
    shots: Shots,
    truth: Truth,
    avatars: tuple[Avatar, Avatar],
    frames: list[int],
    engines: dict[str, Engine],
) -> dict[str, Any]:
    """Judge the still reference and the prior with the first avatar, as enrolled, and the engine with the second."""
    enrolled, avatar = avatars
    points = through_motion(footage, avatar, "absolute") if run.options.through_motion else footage.points
    reference = scaled(enrolled.references[0].picture, truth.size)
    scores = {"still": truth.score(lambda i: reference, run.learned)}
    for name, engine in engines.items():
        shown = avatar if name == "engine" else enrolled
        scores[name] = truth.score(drawer(engine, shown, points, truth.size), run.learned)
    if "prior" not in scores:
        scores["prior"] = scores["engine"]
    for scored in scores.values():
        scored.compare(scores["still"])
    held = run.engines["engine"].info.references
    row: dict[str, Any] = {
        "clip": footage.clip.name,
        "identity": footage.clip.identity,
        "held_out": footage.clip.held_out,
        "shots": shots.key,
        "references": len(frames),
        "references_used": min(len(frames), held),
        "reference_frames": frames,
        "test_frames": len(truth.test),
        **scores["engine"].figures,
        "prior": scores["prior"].figures,
        "still": scores["still"].figures,
    }
    if len(frames) > held:
        row["note"] = f"the engine holds {held} references, so {len(frames) - held} of those chosen were not used"
    run.report.clips.append(row)
    _keep(run, shots, truth, row, avatar, scores)
    return row


def _keep(
    run: _Run,
    shots: Shots,
    truth: Truth,
    row: dict[str, Any],
    avatar: Avatar,
    scores: dict[str, Scored],
) -> None:
    for name, scored in scores.items():
        run.features.setdefault((shots.key, name), []).extend(scored.features)
    if run.learned.has("fid"):
        real = [run.learned.features(truth.pictures[i]) for i in truth.test]
        run.features.setdefault((shots.key, "real"), []).extend(real)
    if run.options.sheet or run.options.blind:
        shown = [name for name in ("still", "prior", "engine") if name in (*run.engines, *_rivals(run))]
        found = moments(scores["engine"].ssim_face)
        reference = scaled(avatar.references[0].picture, truth.size)
        block = Block(
            f"{row['clip']}, {shots.key}",
            reference,
            mosaic([r.picture for r in avatar.references]),
            len(avatar.references),
            [
                Moment(
                    title,
                    truth.pictures[i],
                    {name: scores[name].drawn[i] for name in shown},
                    {name: scores[name].ssim_face[i] for name in shown},
                )
                for i, title in found
            ],
        )
        run.blocks.setdefault(shots.key, []).append(block)


def _rivals(run: _Run) -> tuple[str, str]:
    """Who is compared in a blind look: the engine and the prior, or the prior itself and the still reference."""
    return ("prior", "engine") if "prior" in run.engines else ("still", "engine")


def _cross(run: _Run) -> None:
    """A handful of people driven by somebody else: the next one whose face is clearly another."""
    engine, kept = run.engines["engine"], run.kept
    for i in protocol.evenly(range(len(kept)), run.options.pairs):
        target = kept[i]
        others = [k for k in kept[i + 1 :] + kept[:i] if k.clip.identity != target.clip.identity]
        if not others:
            continue
        apart = [difference(k.shape, target.shape) for k in others]
        clear = [n for n, gap in enumerate(apart) if gap > SAME_PERSON[1]]
        other = others[clear[0] if clear else int(np.argmax(apart))]
        names = {"target": target.clip.name, "driver": other.clip.name}
        run.say(f"{names['target']} driven by {names['driver']}")
        driver = Footage(other.clip, run.options.landmarks)
        try:
            figures = identity_kept(engine, target.avatar, driver, target.shape, other.shape)
        except FaceError as error:
            run.report.left_out.append({"clip": f"{names['target']} driven by {names['driver']}", "reason": str(error)})
            continue
        more = {"references": len(target.avatar.references), "floor": target.floor}
        run.report.cross.append(names | more | figures)


def _summarise(run: _Run, *, fid: bool = True) -> None:
    for shots in run.shots:
        rows = [row for row in run.report.clips if row["shots"] == shots.key]
        if not rows:
            continue
        summary = summarise(rows)
        if run.report.cross:
            summary["identity_kept"] = float(np.median([row["kept"] for row in run.report.cross]))
        if fid and run.learned.has("fid"):
            real = run.features[shots.key, "real"]
            summary["fid"] = frechet(run.features[shots.key, "engine"], real)
            for who in ("prior", "still"):
                summary[who]["fid"] = frechet(run.features[shots.key, who], real)
        run.report.summary[shots.key] = summary
    for name in ("telepresence", *_NAMED):
        try:
            run.report.versions[name] = version(name)
        except PackageNotFoundError:
            continue


def _write_json(run: _Run) -> None:
    """What is known so far: hours of work must not be lost to a Ctrl-C. FID, which takes a while, comes at the end."""
    if run.options.json:
        _summarise(run, fid=False)
        run.options.json.write_text(run.report.json(), "utf-8")


def _write(run: _Run) -> None:
    options = run.options
    if options.json:
        options.json.write_text(run.report.json(), "utf-8")
    if options.sheet:
        for key, blocks in run.blocks.items():
            path = options.sheet if len(run.blocks) == 1 else options.sheet.with_stem(f"{options.sheet.stem}-{key}")
            write_png(path, draw_sheet(blocks))
            run.say(f"{path}: {len(blocks)} clips")
    if options.blind:
        count = write_blind(options.blind, [b for blocks in run.blocks.values() for b in blocks], _rivals(run))
        run.say(f"{options.blind}: {count} pairs; look first, then read key.json")


def _engine(engine: Engine) -> dict[str, Any]:
    info = engine.info
    return {
        "name": info.name,
        "version": info.version,
        "digest": info.digest,
        "references": info.references,
        "size": engine.size,
        "runtime": engine.runtime_name,
    }


def _reasons(report: Report) -> str:
    return "; ".join(f"{entry['clip']}: {entry['reason']}" for entry in report.left_out)


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
