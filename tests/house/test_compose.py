"""docker-compose.yml: read by Compose itself where there is one, and by eye everywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.real.distributions import find_distribution
from tests.support.real.servers import Server

COMPOSE_FILE = Path(__file__).parents[2] / "docker-compose.yml"

IMAGES = {
    "zookeeper1": "zookeeper:3.9",
    "zookeeper2": "zookeeper:3.9",
    "zookeeper3": "zookeeper:3.9",
    "zookeeper-older": "zookeeper:3.8.0",
}
PORTS = {"zookeeper1": 2181, "zookeeper2": 2182, "zookeeper3": 2183, "zookeeper-older": 2188}


def compose_command() -> list[str] | None:
    """Compose v1 or v2, whichever runs here; config needs no Docker daemon."""
    for command in ["docker-compose"], ["docker", "compose"]:
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return None


def service_texts(text: str) -> dict[str, str]:
    """The text of each service: what is indented below its name, below `services:`."""
    services = text.partition("\nservices:\n")[2]
    parts = re.split(r"^  (?=\S)", services, flags=re.MULTILINE)
    return {name: body for name, _, body in (part.partition(":\n") for part in parts if part.strip())}


def health_check(text: str) -> list[str]:
    command = re.search(r"^ *test: (\[.*\])$", text, re.MULTILINE)
    assert command
    words: list[str] = json.loads(command[1])
    assert words[0] == "CMD"  # the rest is a command and its arguments
    return words[1:]


def test_compose_file_has_an_ensemble_and_an_older_server() -> None:
    text = COMPOSE_FILE.read_text()
    services = service_texts(text)
    assert services.keys() == IMAGES.keys()
    shared_image = re.search(r"^x-server: &server\n  image: (\S+)$", text, re.MULTILINE)
    assert shared_image
    for name, service in services.items():
        own_image = re.search(r"^    image: (\S+)$", service, re.MULTILINE)
        assert (own_image or shared_image)[1] == IMAGES[name]
        assert f'ports: ["{PORTS[name]}:2181"]' in service
        assert "<<: *server" in service
    for number in 1, 2, 3:
        assert f'ZOO_MY_ID: "{number}"' in services[f"zookeeper{number}"]
        assert f"server.{number}=zookeeper{number}:2888:3888;2181" in services["zookeeper1"]
    assert "\t" not in text
    assert not re.search(r"^(version|volumes):", text, re.MULTILINE)


def test_compose_resolves_its_file_to_the_same() -> None:
    """What Compose makes of the anchors; without Compose, that every alias has its anchor, which the rest rests on."""
    text = COMPOSE_FILE.read_text()
    assert set(re.findall(r"<<: \*(\w+)", text)) == set(re.findall(r": &(\w+)$", text, re.MULTILINE))
    command = compose_command()
    if command is None:
        return
    result = subprocess.run([*command, "-f", str(COMPOSE_FILE), "config"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "warn" not in result.stderr.lower()
    resolved = service_texts("\n" + result.stdout)
    for name, image in IMAGES.items():
        assert f"image: {image}\n" in resolved[name]
        assert re.search(rf'published: "?{PORTS[name]}"?\n', resolved[name])
        assert "ZOO_4LW_COMMANDS_WHITELIST: '*'" in resolved[name].replace('"', "'")
        assert "/dev/tcp" in resolved[name]


def test_health_check_tells_a_serving_server() -> None:
    command = [word.replace("2181", "{port}") for word in health_check(COMPOSE_FILE.read_text())]
    with Server(find_distribution()) as server:
        here = [word.replace("{port}", str(server.port)) for word in command]
        result = subprocess.run(here, capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (0, "Mode: standalone\n")
        server.stop()
        assert subprocess.run(here, capture_output=True).returncode != 0
