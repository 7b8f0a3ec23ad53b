"""A live call with the few-shot engine: a fine-tuned avatar arrives and is drawn."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from telepresence.avatar.owner import save_signed
from telepresence.avatar.personal import pack_personal
from telepresence.avatar.samples import sample_avatar
from telepresence.generator.fewshot.stored import weights_of_engine
from telepresence.runtime.info import read_info
from tests.rtc.call import Page, edge, hub
from tests.rtc.pair import run, until


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")


def test_a_fine_tuned_avatar_is_shown_in_a_call(exported: Path, tmp_path: Path) -> None:
    length = weights_of_engine(exported).generator.modulation
    rows = np.random.default_rng(0).normal(1, 0.3, (1, length)).astype(np.float32)
    personal = {read_info(exported).digest: pack_personal({"modulation": rows})}
    path = tmp_path / "me.avatar"
    save_signed(replace(sample_avatar(), personal=personal), path)

    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="none", engine=str(exported), size=256, runtime="onnxruntime") as receiver,
            edge(url, camera="sample", avatar=path, sink="null"),
        ):
            page = Page(receiver, avatars=1)
            await page.connect()
            await until(lambda: bool(receiver.stats()["fps"]), 20)
            pictures = [await page.picture() for _ in range(30)]
            assert pictures[-1].shape == (256, 256, 3)
            assert max(float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(pictures)) > 0.05
            assert receiver.stats()["engine"] == "fewshot"
            await page.pc.close()

    run(test, 60)
