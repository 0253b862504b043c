"""Mosquitto's configuration and access list, rendered from the template in `edge/broker`."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from smartdrive_edge.certificates import RESERVED_PREFIX
from smartdrive_edge.messages import check_device_id

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What differs from home to home.

    Attributes:
        folder: for the rendered files and the broker's own state.
        authority: PEM file of the authority that signed devices and landers.
        certificate: PEM file, the broker's.
        key: PEM file, the broker's.
        address: to listen on; all interfaces only where that is meant.
        port: to listen on.
        landers: common names that read every vehicle and write acks.
        user: account that Mosquitto runs as when it is started by root.
    """

    folder: Path
    authority: Path
    certificate: Path
    key: Path
    address: str = "127.0.0.1"
    port: int = 8883
    landers: Sequence[str] = (RESERVED_PREFIX,)
    user: str = ""

    def write(self) -> Path:
        """Write `mosquitto.conf` and `mosquitto.acl`; the path of the former, for ``mosquitto -c``.

        Raises:
            ValueError: a path or an address would add a line of its own, or a lander's name is no common name.
        """
        state = self.folder / "state"
        state.mkdir(parents=True, exist_ok=True)
        acl = self.folder / "mosquitto.acl"
        values = {
            "user": self.user or getpass.getuser(),
            "acl_file": acl.absolute(),
            "port": self.port,
            "address": self.address,
            "authority": self.authority.absolute(),
            "certificate": self.certificate.absolute(),
            "key": self.key.absolute(),
            "persistence_folder": state.absolute(),
        }
        for name, value in values.items():
            if not str(value).isprintable():
                raise ValueError(f"{name} holds a character that would break the configuration's lines")
        acl.write_text(access_list(self.landers), encoding="utf-8")
        acl.chmod(0o600)
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(Template(_template()).substitute(values), encoding="utf-8")
        return configuration


def access_list(landers: Sequence[str]) -> str:
    """Mosquitto's access list: a device writes and reads its own three topics, a lander reads all and answers.

    Args:
        landers: common names.

    Raises:
        ValueError: a name that does not begin with `lander` could be a device's.
    """
    lines = ["# Rendered by smartdrive_edge.broker_config. %u is the certificate's common name."]
    for lander in landers:
        if not check_device_id(lander).startswith(RESERVED_PREFIX):
            raise ValueError(f"a lander's name begins with {RESERVED_PREFIX!r}: {lander!r} could be a device's")
        lines += ["", f"user {lander}", "topic read vehicle/+/telemetry", "topic read vehicle/+/events"]
        lines += ["topic write vehicle/+/ack"]
    lines += ["", "pattern write vehicle/%u/telemetry", "pattern write vehicle/%u/events"]
    lines += ["pattern read vehicle/%u/ack", ""]
    return "\n".join(lines)


def _template() -> str:
    for folder in (_HERE / "broker", _HERE.parent / "broker"):  # in the wheel, in a checkout
        if (folder / "mosquitto.conf").is_file():
            return (folder / "mosquitto.conf").read_text(encoding="utf-8")
    raise FileNotFoundError("mosquitto.conf is missing from this installation of smartdrive-edge")
