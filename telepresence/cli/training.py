"""The commands that make generators, and judge them: `train` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from telepresence.cli.options import PATH, engine_options
from telepresence.errors import InputError


@click.command()
@click.option("--clips", type=PATH, required=True, help="A folder of videos, with a MANIFEST.json or without.")
@click.option("--shots", default="1,8,32", show_default=True, help="Numbers of references; 8@60: from the first 60 %.")
@click.option("--fine-tune", is_flag=True, help="Also 8+ft: learn on the first 60 %, be judged on the last 40 %.")
@click.option("--whole", is_flag=True, help="With fewshot also 8+whole: the generator's weights are fine-tuned too.")
@click.option("--minutes", default=5.0, show_default=True, help="Fine-tuning at most, a clip.")
@click.option("--frames", default=60, show_default=True, help="Frames of a clip to be judged on, about.")
@click.option("--everyone", is_flag=True, help="Also people whom training may have seen.")
@click.option("--only", default="", metavar="NAME,NAME", help="These people or clips only.")
@click.option("--pairs", default=6, show_default=True, help="How many avatars to drive by somebody else.")
@click.option("--through-motion", is_flag=True, help="Drive through motion, as in a call, not by landmarks themselves.")
@click.option("--landmarks", type=PATH, default=Path("out/landmarks"), show_default=True, help="Where they are kept.")
@click.option("--weights", type=PATH, help="Folder with networks for LPIPS, CSIM and FID: docs/evaluate.md.")
@click.option("--json", type=PATH, help="Write all figures to this file.")
@click.option("--sheet", type=PATH, help="Draw reference, real and drawn frames, .png; one for each kind of shots.")
@click.option("--blind", type=PATH, help="Write pairs for a blind look to this new folder.")
@engine_options
def evaluate(only: str, size: str, **options: Any) -> None:
    """Judge an engine's pictures on real clips that training never saw."""
    from telepresence.evaluate.options import Options
    from telepresence.evaluate.run import evaluate as judge

    names = tuple(name.strip() for name in only.split(",") if name.strip())
    report = judge(Options(only=names, size=int(size), **options), lambda line: click.echo(line, err=True))
    click.echo(report.text())


@click.group()
def train() -> None:
    """Make generators from face clips. Needs the extra `train`: make setup-train."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise InputError("training needs torch, which is not installed; run: make setup-train")


def _train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that trains."""
    folder = "The run's folder. A run in it is gone on with."
    only = "Only clips that this folder's MANIFEST.json lists."
    for option in (
        click.option("--device", help="cpu, cuda or cuda:N. Default: a GPU if there is one."),
        click.option("--workers", type=click.IntRange(0, 256), help="Processes that draw samples, each process: 1."),
        click.option("--seed", type=click.IntRange(min=0), help="Of weights and data. Default: 0."),
        click.option("--perceptual", type=PATH, metavar="FILE", help="Also compare by this TorchScript's features."),
        click.option("--adversarial-after", type=click.IntRange(min=0), help="Samples before the discriminator joins."),
        click.option(
            "--cool-down", type=click.IntRange(min=0), default=0, help="Let the rate fall over so many, stop."
        ),
        click.option("--samples", type=click.IntRange(min=1), help="Stop when so many were seen. Default: never."),
        click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long."),
        click.option("--out", type=PATH, required=True, metavar="DIR", help=folder),
        click.option("--research", is_flag=True, help="Also clips for research only: such weights cannot be shipped."),
        click.option("--train-all", is_flag=True, help="Also people held out: nobody is left to judge the weights by."),
        click.option("--data", type=PATH, metavar="CLIPS_DIR", help=only),
        click.option("--clips", type=PATH, required=True, metavar="PREPARED_DIR", help="Prepared: docs/training.md."),
    ):
        command = option(command)
    return command


@train.command("live")
@_train_options
@click.option("--batch", type=click.IntRange(1, 4096), help="Samples a step and process. Default: 5.")
@click.option("--start", type=PATH, metavar="ENGINE|FILE", help="Begin with an engine's weights or a weights.pt.")
def train_live(
    batch: int | None, adversarial_after: int | None, seed: int | None, workers: int | None, **options: Any
) -> None:
    """Train the live engine; Ctrl-C or SIGTERM saves and ends, the same command goes on."""
    from telepresence.generator.start import LiveOptions
    from telepresence.generator.start import train_live as begin

    _refuse_two_splits(options)
    chosen = {"batch": batch, "adversarial_after": adversarial_after, "seed": seed, "workers": workers}
    begin(LiveOptions(**options), {name: value for name, value in chosen.items() if value is not None})


@train.command("fewshot")
@click.option("--config", default="small", show_default=True, metavar="small|paper|FILE", help="Networks, schedule.")
@_train_options
@click.option("--people", type=click.IntRange(1, 1024), help="Clips a step and process. Default: the configuration's.")
def train_fewshot(
    config: str,
    adversarial_after: int | None,
    seed: int | None,
    workers: int | None,
    people: int | None,
    **options: Any,
) -> None:
    """Train the few-shot adversarial networks (2019); Ctrl-C or SIGTERM saves and ends, the same command goes on."""
    from telepresence.generator.fewshot.start import train_few_shot
    from telepresence.generator.start import LiveOptions

    _refuse_two_splits(options)
    chosen = {"people": people, "adversarial_after": adversarial_after, "seed": seed, "workers": workers}
    train_few_shot(config, LiveOptions(**options), {name: value for name, value in chosen.items() if value is not None})


def _refuse_two_splits(options: dict[str, Any]) -> None:
    if options["data"] and options["train_all"]:
        raise InputError("--data says who is held out, --train-all that nobody is; give one of them")
