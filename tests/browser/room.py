"""A hub, edges and the pages of those in a room, all of it real: one edge in this process, which can be cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from telepresence.avatar.samples import SAMPLE_AVATAR
from telepresence.hub import tokens
from telepresence.hub.app import HubConfig, create_app
from telepresence.hub.ice import IceConfig
from telepresence.hub.serve import base_url, bind, join_url, make_server
from telepresence.hub.urls import URL_VARIABLE
from telepresence.rtc.edge import Edge
from telepresence.rtc.session import closed_all
from tests.rtc.call import edge
from tests.rtc.pair import until

START_S = 60.0
STOP_S = 20.0

# How loud a participant's voice arrives here: root mean square over so many milliseconds of what is played.
LOUDNESS = """async ([id, ms]) => {
  const audio = document.querySelector(`#sounds audio[data-id="${id}"]`);
  if (!audio?.srcObject) return 0;
  window.listening ??= new AudioContext();
  await window.listening.resume();
  const analyser = new AnalyserNode(window.listening, { fftSize: 2048 });
  const source = window.listening.createMediaStreamSource(audio.srcObject);
  source.connect(analyser);
  const samples = new Float32Array(2048);
  let sum = 0, count = 0;
  for (const end = performance.now() + ms; performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 40));
    analyser.getFloatTimeDomainData(samples);
    for (const value of samples) sum += value * value;
    count += samples.length;
  }
  source.disconnect();
  return Math.sqrt(sum / count);
}"""

# Pictures of a participant that are shown within so many milliseconds.
PICTURES = """async ([id, ms]) => {
  const video = document.querySelector(`.tile[data-id="${id}"] video`);
  if (!video?.srcObject) return 0;
  const read = () => video.getVideoPlaybackQuality().totalVideoFrames;
  const before = read();
  await new Promise((resolve) => setTimeout(resolve, ms));
  return read() - before;
}"""


class RestartingHub:
    """A hub that can end and come back at its address, remembering nothing but its secret."""

    def __init__(self, room: str, ice: IceConfig | None = None) -> None:
        self._room = room
        self._config = HubConfig(b"s" * 32, **({} if ice is None else {"ice": ice}))
        self._port = 0
        self._server: Any = None

    async def start(self) -> str:
        """Returns a URL to join the room by."""
        listener = bind("127.0.0.1", self._port)
        self._port = listener.getsockname()[1]
        self._server = make_server(create_app(self._config))
        self._server.capture_signals = contextlib.nullcontext  # signals stay pytest's
        self._serving = asyncio.ensure_future(self._serve(self._server, listener))
        await until(lambda: self._server.started)
        token = tokens.issue(self._config.secret, self._room, ttl_s=3600, now=time.time())
        return join_url(base_url("127.0.0.1", self._port), self._room, token)

    async def stop(self) -> None:
        """End it, if it runs."""
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._serving
            self._server = None

    @staticmethod
    async def _serve(server: Any, listener: Any) -> None:
        try:
            await server.serve(sockets=[listener])
        finally:
            listener.close()


class Room:
    """A hub and edges on a loop of their own: playwright needs this one."""

    def __init__(self, ice: IceConfig | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._exit = contextlib.AsyncExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._hub = RestartingHub("monday", ice)
        self.url: str = self._run(self._hub.start())
        self._exit.push_async_callback(self._hub.stop)

    def add_here(self, name: str, **options: Any) -> Edge:
        """An edge in this process."""

        async def enter() -> Edge:
            joined = edge(self.url, **({"camera": "browser", "avatar": SAMPLE_AVATAR, "name": name} | options))
            return await self._exit.enter_async_context(joined)

        added: Edge = self._run(enter())
        return added

    def add(self, name: str) -> str:
        """An edge as it is for everybody, a process of its own; the address of its page."""
        command = [
            sys.executable,
            "-m",
            "telepresence",
            "join",
            "-",
            "--json-ready",
            "--name",
            name,
            "--camera",
            "browser",
        ]
        command += ["--avatar", str(SAMPLE_AVATAR), "--engine", "prior"]
        environment = os.environ | {URL_VARIABLE: self.url}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        self._processes.append(process)
        assert process.stdout is not None
        return str(json.loads(process.stdout.readline())["page"])

    def stop_hub(self) -> None:
        """The hub's process ends, and with it whatever it knew."""
        self._run(self._hub.stop())

    def start_hub(self) -> None:
        """Another one, at the same address."""
        self._run(self._hub.start())

    def cut(self, running: Edge) -> None:
        """Cut an edge off from its page."""

        def cut() -> None:
            running.viewers.close()
            for line in list(running.pages._lines):
                line.end(1001)

        self._loop.call_soon_threadsafe(cut)

    def close(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGINT)
        for process in self._processes:
            process.communicate(timeout=STOP_S)
        self._run(self._exit.aclose())
        self._run(closed_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(START_S)


def write_voice(path: Path, seconds: int = 4, rate: int = 48_000) -> Path:
    """Something like a voice, for the fake microphone: a buzz of 140 Hz in syllables, which no filter takes away."""
    at = np.arange(seconds * rate) / rate
    buzz = sum(np.sin(2 * np.pi * 140 * k * at) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 3 * at), 0, 1) * (0.7 + 0.3 * np.sin(2 * np.pi * 0.7 * at))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((0.35 * buzz * syllables * 32767).clip(-32768, 32767).astype("<i2").tobytes())
    return path
