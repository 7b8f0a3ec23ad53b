"""Refining one's own avatar while the call goes on: what was accepted, the run, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from telepresence.avatar.file import pack
from telepresence.enrolment import own
from telepresence.enrolment.orders import Accepted
from telepresence.enrolment.tuning import Tuning, why_not
from telepresence.errors import InputError, TelepresenceError

logger = logging.getLogger(__name__)


class Refining:
    """At most one run at a time. On the event loop.

    Args:
        engine: what is tuned for.
        tell: gets messages for the page.
        better: told when one's own avatar has become another one, in place of the one before.
        over: told when there is nothing to refine any more.
    """

    def __init__(
        self,
        engine: str,
        tell: Callable[[dict[str, Any]], None],
        better: Callable[[], None],
        over: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._tell = tell
        self._better = better
        self._over = over
        self._accepted: tuple[Accepted, str] | None = None  # and the digest of its file
        self._run: asyncio.Task[None] | None = None
        self.told: dict[str, Any] | None = None
        """How far it is, for a page that comes meanwhile; None: nothing runs."""

    @property
    def possible(self) -> bool:
        """Whether there are pictures to learn from."""
        return self._accepted is not None

    def offer(self, accepted: Accepted, sha256: str) -> None:
        """Another avatar was accepted: a run for the one before ends."""
        self.stop()
        self._accepted = (accepted, sha256) if accepted.material is not None else None

    def forget(self, *, even_running: bool = False) -> None:
        """The pictures are not wanted any more; a run goes on with its own, unless that is to end, too."""
        if even_running:
            self.stop()
        if self._run is None or even_running:
            self._accepted = None

    def stop(self) -> None:
        """End a run; the avatar stays as it is."""
        if self._run is not None:
            self._run.cancel()
            self._run = None

    def start(self) -> None:
        """Begin.

        Raises:
            InputError: there is nothing to learn from, or it takes what is not installed.
        """
        if self._run is not None:
            return
        if self._accepted is None:
            raise InputError("the pictures that it would learn from are gone; enrol again to refine your avatar")
        if reason := why_not(self._engine):
            raise InputError(reason)
        self._run = asyncio.ensure_future(self._refine(*self._accepted))

    async def close(self) -> None:
        """End everything, and wait for it."""
        run = self._run
        self.forget(even_running=True)
        if run is not None:
            await asyncio.gather(run, return_exceptions=True)

    async def _refine(self, accepted: Accepted, sha256: str) -> None:
        state, text = "none", ""
        try:
            self._progress(0.0, "")
            if await self._learn(accepted, sha256):
                state = "better"
        except asyncio.CancelledError:
            state = "stopped"
            raise
        except (TelepresenceError, OSError) as error:
            state, text = "failed", str(error)
        except Exception as error:
            logger.exception("refining failed")
            state, text = "failed", f"refining has failed ({type(error).__name__}); your avatar is as before"
        finally:
            self.told = None
            self._tell({"type": "tuning", "state": state, "share": 1.0, "line": text})
        self._run = self._accepted = None  # the camera's pictures have served
        self._over()

    def _progress(self, share: float, line: str) -> None:
        self.told = {"type": "tuning", "state": "running", "share": share, "line": line}
        self._tell(self.told)

    async def _learn(self, accepted: Accepted, sha256: str) -> bool:
        """Whether one's own avatar is a better one now."""
        if accepted.material is None:
            return False
        begin = await asyncio.to_thread(pack, accepted.avatar)
        tuned = await Tuning(begin, accepted.material, self._engine, self._progress).run()
        if tuned is None:
            return False
        if await asyncio.to_thread(own.kept_digest) != sha256:
            raise InputError("your avatar is another one by now, so what was learned is left out")
        await asyncio.to_thread(own.keep, tuned, accepted.how)
        self._better()
        return True
