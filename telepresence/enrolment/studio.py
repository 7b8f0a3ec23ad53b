"""Where an avatar is made: one thread that looks at the page's pictures, leads the guide and draws what came of it.

Commands are taken in order; of the pictures only the newest waits. Nothing here is shared but the way in and out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from telepresence.enrolment.gathering import Gathered, Made
from telepresence.enrolment.guide import Guide, News, draw
from telepresence.enrolment.hints import BLOCKING
from telepresence.enrolment.looking import Looker, Seen
from telepresence.enrolment.mirror import SAMPLE_STEP_US, Mirror
from telepresence.enrolment.orders import Accepted, Again, How, Photos
from telepresence.enrolment.steps import Step
from telepresence.enrolment.wire import Accept, Begin, FromPage, Retake, Skip
from telepresence.errors import InputError, TelepresenceError
from telepresence.rtc.monotonic import now_us

logger = logging.getLogger(__name__)

NO_CAMERA_US: Final = 1_200_000  # without a picture: the avatar is moved by recorded motion
SHOWS: Final = ("review", "kept")  # states in which the avatar is drawn
DEFAULT_NAME: Final = "Me"


class Studio:
    """Makes one person's avatar.

    Args:
        engine: what draws it, a shipped name or a folder.
        runtime: as of `join`.
        tell: gets messages for the page (JSON-ready, or a JPEG of the avatar), in the studio's thread.
        accept: gets what the person has accepted, in the studio's thread; TelepresenceError if it cannot be kept.
        draw_order: see Guide.
    """

    def __init__(
        self,
        engine: str,
        runtime: str | None,
        tell: Callable[[dict[str, Any] | bytes], None],
        accept: Callable[[Accepted], None],
        draw_order: Callable[[], Sequence[Step]] = draw,
    ) -> None:
        self._drawn_by = engine, runtime
        self._tell = tell
        self._accept = accept
        self._guide = Guide(draw_order)
        self._gathered = Gathered()
        self._state = "look"
        self._made: Made | None = None
        self._how: How = "live"
        self._said = ""
        self._why = ""  # that it has failed
        self._changed = threading.Condition()
        self._commands: deque[FromPage | Photos | Again] = deque()
        self._picture: tuple[int, bytes, int] | None = None
        self._seen_us = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="studio", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def do(self, command: FromPage | Photos | Again) -> None:
        """Hand over a command, from any thread."""
        with self._changed:
            self._commands.append(command)
            self._changed.notify()

    def put(self, number: int, jpeg: bytes) -> None:
        """Hand over a camera's picture, from any thread; one that was not looked at yet gives way."""
        with self._changed:
            self._picture = number, jpeg, now_us()
            self._changed.notify()

    def tell_again(self) -> None:
        """Tell the page how things stand: it is another one."""
        self.do(Again())

    def close(self) -> None:
        """Stop, and wait a little; pictures are forgotten."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    # the thread

    def _work(self) -> None:
        try:
            self._lead()
        except Exception as error:
            logger.exception("enrolment cannot start")
            self._problem(f"face landmarks cannot start ({type(error).__name__}); try: telepresence doctor")

    def _lead(self) -> None:
        from telepresence.face.matte import Matter

        with Looker() as looker, Matter() as matter:
            self._looker, self._matter = looker, matter
            self._mirror: Mirror | None = None
            self._tell_state()
            try:
                while (todo := self._next()) is not None:
                    self._safely(todo)
            finally:
                self._gathered.clear()
                if self._mirror is not None:
                    self._mirror.close()

    def _next(self) -> Callable[[], None] | None:
        """What is to be done next; None when closed."""
        with self._changed:
            while not self._closed:
                if self._commands:
                    command = self._commands.popleft()
                    return lambda: self._obey(command)
                if self._picture is not None:
                    picture, self._picture = self._picture, None
                    return lambda: self._look(*picture)
                if self._state in SHOWS and now_us() - self._seen_us > NO_CAMERA_US:
                    if not self._changed.wait(SAMPLE_STEP_US / 1e6):
                        return self._show_recorded
                else:
                    self._changed.wait(NO_CAMERA_US / 1e6)
        return None

    def _safely(self, todo: Callable[[], None]) -> None:
        try:
            todo()
        except TelepresenceError as error:
            self._problem(str(error))
        except Exception as error:
            logger.exception("enrolment failed")
            self._problem(f"something went wrong ({type(error).__name__}); begin again")

    def _problem(self, text: str) -> None:
        if text != self._said or self._state != "look":
            self._tell({"type": "said", "text": text, "level": "error"})
        self._said = text

    def _tell_state(self) -> None:
        guide, counts = self._guide, self._gathered.counts()
        steps = [
            {
                "step": step,
                "done": step in guide.done,
                "followed": guide.done.get(step),
                "pictures": counts.get(step, 0),
            }
            for step in guide.order
        ]
        fields: dict[str, Any] = {"type": "guide", "state": self._state, "step": guide.step, "phase": guide.phase}
        made = self._made
        if made is not None:
            fields |= {"how": self._how, "references": len(made.avatar.references), "lacking": made.lacking}
        if self._state == "failed":
            fields["why"] = self._why
        self._tell(fields | {"steps": steps})

    def _enter(self, state: str) -> None:
        self._state = state
        self._tell_state()

    def _obey(self, command: FromPage | Photos | Again) -> None:
        self._said = ""  # what was wrong before is told again
        if isinstance(command, Begin):
            self._begin()
        elif isinstance(command, Retake):
            self._retake(command.step)
        elif isinstance(command, Skip) and self._state == "guide":
            self._on_news(self._guide.step, self._guide.skip())
        elif isinstance(command, Photos):
            self._from_photos(command.paths)
        elif isinstance(command, Accept) and self._made is not None:
            avatar = replace(self._made.avatar, name=command.name or DEFAULT_NAME)
            self._accept(Accepted(avatar, self._how, self._made.material))
            self._made = None
            self._gathered.clear()
            self._enter("kept")
        elif isinstance(command, Again):
            self._tell_state()

    def _forget(self) -> None:
        self._made = None
        self._gathered.clear()
        self._guide.begin()

    def _begin(self) -> None:
        self._forget()
        self._mirrored()  # the engine loads while the person follows the guide
        self._enter("guide")

    def _retake(self, step: Step) -> None:
        if self._how == "photos" and self._made is not None:
            return
        self._guide.retake(step)
        self._gathered.drop(step)
        self._made = None
        self._enter("guide")

    def _mirrored(self) -> Mirror:
        if self._mirror is None:
            self._mirror = Mirror(*self._drawn_by)
        return self._mirror

    def _look(self, number: int, jpeg: bytes, at_us: int) -> None:
        seen = self._looker(jpeg, at_us)
        self._seen_us = at_us
        guide, news = self._guide, None
        step, phase = guide.step, guide.phase
        if self._state == "guide":
            self._check_camera(seen)
            step = guide.step
            news = guide.see(seen.usable, at_us)
            if step is not None and seen.usable is not None:
                followed = news in (News.FOLLOWED, News.FINISHED)
                self._gathered.keep(jpeg, seen, step, 1.0 if followed else guide.progress)
        told: dict[str, Any] = {"hint": seen.hint, "blocks": seen.hint in BLOCKING, "box": seen.box}
        if self._state == "guide":
            told |= {"progress": round(guide.progress, 2), "phase": guide.phase, "step": guide.step}
        self._tell({"type": "seen", "n": number, **told})
        if news is not None:
            self._on_news(step, news)
        elif self._state == "guide" and guide.phase is not phase:
            self._tell_state()
        elif self._state in SHOWS:
            self._show(seen)

    def _check_camera(self, seen: Seen) -> None:
        height, width = seen.picture.shape[:2]
        if self._gathered.size not in (None, (width, height)):
            self._problem("the camera gives pictures of another size now, which do not go together; from the beginning")
            self._begin()

    def _on_news(self, step: Step | None, news: News | None) -> None:
        if news is None:
            return
        self._tell({"type": "news", "news": news, "step": step})
        if news is News.ANEW:
            self._gathered.clear()
        if news is News.FINISHED:
            self._make()
        else:
            self._tell_state()

    def _make(self) -> None:
        began = time.monotonic()
        self._enter("making")
        try:
            made = self._gathered.make(DEFAULT_NAME, self._matter)
            self._mirrored().wear(made.avatar)
        except TelepresenceError as error:
            self._why = str(error)
            self._enter("failed")
            return
        self._made, self._how = made, "live" if self._guide.followed else "video"
        self._enter("review")
        self._tell({"type": "made", "seconds": round(time.monotonic() - began, 2)})

    def _from_photos(self, paths: Sequence[Path]) -> None:
        from telepresence.avatar.enrol import enrol
        from telepresence.media import is_photo

        def named(text: str) -> str:
            """Photos by the names that their owner knows, not by where they wait."""
            for path in paths:
                text = text.replace(f"{path.parent}/", "")
            return text

        if not paths:
            raise InputError("no photo has come; choose them again")
        if others := [path.name for path in paths if not is_photo(path)]:
            raise InputError(f"{others[0]}: not a photo; choose JPEG, PNG or WebP files")
        self._enter("making")
        try:
            avatar = enrol(
                paths,
                name=DEFAULT_NAME,
                progress=lambda line: self._tell({"type": "line", "text": named(line)}),
            )
            self._mirrored().wear(avatar)
        except TelepresenceError as error:
            self._enter("look")
            raise InputError(named(str(error))) from error
        self._made, self._how = Made(avatar, None), "photos"
        self._enter("review")

    def _show(self, seen: Seen) -> None:
        if seen.landmarks is not None and self._mirror is not None:
            height, width = seen.picture.shape[:2]
            jpeg = self._mirror.draw(seen.landmarks, width, height, seen.at_us)
            if jpeg:
                self._tell(jpeg)

    def _show_recorded(self) -> None:
        jpeg = self._mirror.draw_recorded(now_us()) if self._mirror is not None else None
        if jpeg:
            self._tell(jpeg)
