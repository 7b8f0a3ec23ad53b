from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from telepresence.errors import InputError
from telepresence.generator.fewshot.config import PAPER, SMALL, FewShotConfig, config_of, difference, read_preset


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return str(path)


def test_presets_go_by_name_and_the_paper_is_the_published_one() -> None:
    assert read_preset("small") is SMALL
    paper = read_preset("paper")
    assert (paper.network.size, paper.network.width, paper.network.embedding, paper.network.references) == (
        256,
        1.0,
        512,
        8,
    )
    training = paper.training
    assert (training.rate, training.judge_rate, training.judge_steps) == (5e-5, 2e-4, 2)
    assert (training.adversarial, training.matching, training.match) == (1, 10, 80)
    assert not training.augment
    assert SMALL.training.match == 0
    assert SMALL.training.judge_rate > SMALL.training.rate


def test_a_file_changes_a_preset(tmp_path: Path) -> None:
    text = 'base = "small"\n[network]\nwidth = 1\nmatte = false\n[training]\nrate = 1e-4\npeople = 3\n'
    found = read_preset(written(tmp_path, text))
    assert found.network == replace(SMALL.network, width=1.0, matte=False)
    assert isinstance(found.network.width, float)
    assert found.training == replace(SMALL.training, rate=1e-4, people=3)
    assert read_preset(written(tmp_path, "")) == PAPER


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[network]\nheight = 3\n", "there is no 'height'"),
        ("[network]\nsize = 100\n", "size 100"),
        ("[network]\nsize = 128.0\n", "is no int"),
        ("[network]\nmatte = 1\n", "is no bool"),
        ("[network]\nwidth = true\n", "is no float"),
        ("[network]\nwidth = 50\n", "from 0.0625 to 2"),
        ("[network]\nfold = 3\n", "fold of 1 or 2"),
        ("[training]\npeople = 0\n", "people of 1"),
        ("[training]\naugment = true\n", "exclude each other"),
        ("[training]\nwarm_up = 0\n", "1 or more"),
        ("[training]\nrate = nan\n", "finite and not negative"),
        ("[training]\nseed = -1\n", "finite and not negative"),
        ("[other]\n", "nothing else"),
        ("network = 3\n", "nothing else"),
        ('base = "large"\n', "nothing else"),
        ("[network\n", "not TOML"),
        ("#" * 70_000, "larger than"),
    ],
)
def test_what_is_not_understood_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_preset(written(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give small, paper"):
        read_preset("medium")
    with pytest.raises(InputError, match="cannot be read"):
        read_preset(str(tmp_path / "none.toml"))


def test_the_shape_travels_with_the_weights() -> None:
    where = Path("weights.pt")
    assert config_of(asdict(SMALL.network), where) == SMALL.network
    for damaged in (None, {}, asdict(SMALL.network) | {"more": 1}, {**asdict(SMALL.network), "size": "large"}):
        with pytest.raises(InputError, match=r"weights\.pt"):
            config_of(damaged, where)
    assert difference(FewShotConfig(), asdict(FewShotConfig())) == ""
    assert difference(FewShotConfig(), asdict(FewShotConfig(width=0.5))) == "width 0.5 and not 1.0"
