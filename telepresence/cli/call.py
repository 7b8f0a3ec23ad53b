"""The commands of a call: `demo`, `hub`, `join`, and `doctor`, which looks for what may be in its way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from telepresence.cli.options import PATH, ca_option, engine_options, url_from_environment


@click.command()
@click.option("--camera", default="browser", show_default=True, help="browser, sample (no camera), a FILE or a DEVICE.")
@click.option("--avatar", type=PATH, help="The avatar to be shown as. Default: your own, or the sample.")
@click.option("--port", default=8080, show_default=True, help="Where the page is served, on this machine only.")
@click.option("--open/--no-open", "open_browser", default=True, help="Open the page in the browser.")
@engine_options
def demo(
    camera: str, avatar: Path | None, port: int, open_browser: bool, engine: str, size: str, runtime: str | None
) -> None:
    """A whole call on this machine: your camera in, your avatar out as the far end sees it."""
    from telepresence.demo import DemoConfig, run_demo

    run_demo(DemoConfig(camera, avatar, port, open_browser, engine, int(size), runtime))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for everybody.")
@click.option("--port", default=8081, show_default=True)
@click.option("--room", help="Room to print a link for. Default: a new random name.")
@click.option("--origin", "origins", multiple=True, help="Further origin that pages may come from. May be repeated.")
@click.option("--public-url", metavar="URL", help="Where others reach the hub: https://hub.example.org.")
@click.option("--certificate", "certificate_file", type=PATH, metavar="FILE", help="For HTTPS: chain, PEM.")
@click.option("--key", "key_file", type=PATH, metavar="FILE", help="For HTTPS: private key, PEM.")
@click.option("--behind-proxy", "proxies", multiple=True, metavar="ADDRESS", help="Believe this proxy's X-Forwarded-*.")
@click.option("--stun", multiple=True, metavar="URL", help="STUN server for participants. May be repeated.")
@click.option("--turn", multiple=True, metavar="URL", help="TURN server for participants. May be repeated.")
@click.option("--turn-secret-file", type=PATH, metavar="FILE", help="The TURN server's static-auth-secret.")
@click.option("--relay-only", is_flag=True, help="Participants connect through TURN only: nobody sees an address.")
def hub(
    host: str,
    port: int,
    room: str | None,
    origins: tuple[str, ...],
    public_url: str | None,
    certificate_file: Path | None,
    key_file: Path | None,
    proxies: tuple[str, ...],
    stun: tuple[str, ...],
    turn: tuple[str, ...],
    turn_secret_file: Path | None,
    relay_only: bool,
) -> None:
    """Run a hub: rooms, tokens, signalling, the page for browsers. It never sees a camera picture."""
    from telepresence.hub.ice import ice_config
    from telepresence.hub.serve import config_from_environment, run_hub
    from telepresence.hub.tls import certificate

    config = config_from_environment(origins, ice=ice_config(stun, turn, turn_secret_file, relay_only=relay_only))
    tls = certificate(certificate_file, key_file)
    run_hub(host, port, config, room=room, public_url=public_url, certificate=tls, proxies=proxies)


@click.command()
@click.argument("url")
@click.option("--camera", default="browser", show_default=True, help="browser, sample, none, a FILE or a DEVICE.")
@click.option("--avatar", type=PATH, help="The avatar to be shown as. Default: your own, or the sample.")
@click.option(
    "--sink", multiple=True, default=["browser"], show_default=True, metavar="SINK",
    help="browser, a FILE.mp4, camera[:DEVICE] (a virtual camera), headset[:PORT] or null. The first three may be "
    "combined: repeat the option.",
)  # fmt: skip
@click.option("--name", default="", help="What the others see as your name.")
@click.option("--page-port", default=0, help="Port of your own page; 0 finds a free one.")
@click.option("--page-origin", "page_origins", multiple=True, help="Further origin that may use the page's API.")
@click.option(
    "--thrifty", is_flag=True, help="Send less: nothing while you keep still, else two motions a message, 33 ms later."
)
@click.option("--relay-only", is_flag=True, help="Connect by TURN only: nobody sees your address.")
@click.option("--json-ready", is_flag=True, help="Print one JSON line on standard output when ready.")
@ca_option
@engine_options
def join(url: str, **options: Any) -> None:
    """Join a room: camera in, motion out; motion in, pictures out.

    URL is the link that the hub printed; with - it is taken from the environment variable TELEPRESENCE_URL, so that
    other users of this machine cannot read it in the list of processes.
    """
    if url == "-":
        url = url_from_environment()
    from telepresence.paths import refuse_overwriting
    from telepresence.rtc.edge import EdgeConfig, run_edge

    options["size"] = int(options["size"])
    config = EdgeConfig(url=url, **options)
    refuse_overwriting({"--sink": config.file()}, (Path(options["camera"]), options["avatar"]))
    run_edge(config)


@click.command()
@click.option("--json", "print_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--hub", "hub_url", metavar="URL", help="Examine the way to this hub instead: the link to a room, best.")
@ca_option
def doctor(print_json: bool, hub_url: str | None) -> None:
    """Examine this machine: what a call needs, what is missing, and how to get it.

    With --hub, enters the room for a moment: the others see somebody come and go.
    """
    from telepresence.doctor import run_doctor

    if hub_url is not None:
        from telepresence.doctor_hub import run_hub_doctor

        sys.exit(run_hub_doctor(url_from_environment() if hub_url == "-" else hub_url, print_json=print_json))
    sys.exit(run_doctor(print_json=print_json))
