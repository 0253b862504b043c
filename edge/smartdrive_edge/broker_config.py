"""Where a broker listens, with which certificates and for whom; and Mosquitto's files for it.

Mosquitto's configuration is rendered from the template in `edge/broker`. Nothing here needs `cryptography`, which
has no wheel for every Pi.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from smartdrive_edge.messages import check_device_id

RESERVED_PREFIX: Final = "lander"
"""Names that begin so have other rights than a device's."""

_HERE: Final = Path(__file__).parent


class BrokerFilesError(OSError):
    """The broker cannot start with these files; the text says what is missing and what makes it."""


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What differs from home to home.

    Attributes:
        folder: for the rendered files and the broker's own state; only Mosquitto uses it.
        authority: PEM file of the authority that signed devices and landers.
        certificate: PEM file, the broker's.
        key: PEM file, the broker's.
        address: to listen on; all interfaces only where that is meant.
        port: to listen on.
        landers: common names that read every vehicle and write acks.
        user: account that Mosquitto runs as when it is started by root.
        revoked: PEM file, the authority's list of revoked certificates; None where none are.
    """

    folder: Path
    authority: Path
    certificate: Path
    key: Path
    address: str = "127.0.0.1"
    port: int = 8883
    landers: Sequence[str] = (RESERVED_PREFIX,)
    user: str = ""
    revoked: Path | None = None

    @classmethod
    def from_certificates(
        cls, folder: Path, certificates: Path, *, address: str, port: int, landers: Sequence[str]
    ) -> BrokerConfig:
        """Find the files that `smartdrive-edge certs` made.

        Args:
            folder: for the broker's own files.
            certificates: holds `ca.crt`, `broker.crt`, `broker.key`, and `ca.crl` if one was ever revoked.
            address: to listen on.
            port: to listen on.
            landers: common names.

        Raises:
            BrokerFilesError: one is missing or cannot be read.
            ValueError: a lander's name could be a device's.
        """
        for lander in landers:
            check_lander(lander)
        makes = {
            "ca.crt": f"smartdrive-edge certs init --folder {certificates}",
            "broker.crt": f"smartdrive-edge certs broker HOSTNAME --folder {certificates}",
            "broker.key": f"smartdrive-edge certs broker HOSTNAME --folder {certificates}",
        }
        for name, command in makes.items():
            try:
                (certificates / name).open("rb").close()
            except FileNotFoundError as error:
                raise BrokerFilesError(f"{certificates / name} is missing: `{command}` makes it") from error
            except OSError as error:
                raise BrokerFilesError(f"{certificates / name} cannot be read: {error.strerror}") from error
        revoked = certificates / "ca.crl"
        return cls(
            folder,
            certificates / "ca.crt",
            certificates / "broker.crt",
            certificates / "broker.key",
            address=address,
            port=port,
            landers=tuple(landers),
            revoked=revoked if revoked.exists() else None,
        )

    def write(self) -> Path:
        """Write `mosquitto.conf` and `mosquitto.acl`; the path of the former, for ``mosquitto -c``.

        Raises:
            ValueError: a path or an address would add a line of its own, or a lander's name is no common name.
        """
        state = self.folder / "state"
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        acl = self.folder / "mosquitto.acl"
        values = {
            "user": self.user or getpass.getuser(),
            "acl_file": acl.absolute(),
            "port": self.port,
            "address": self.address,
            "authority": self.authority.absolute(),
            "certificate": self.certificate.absolute(),
            "key": self.key.absolute(),
            "revoked": f"crlfile {self.revoked.absolute()}" if self.revoked else "# nothing was ever revoked",
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
        lines += ["", f"user {check_lander(lander)}"]
        lines += ["topic read vehicle/+/telemetry", "topic read vehicle/+/events", "topic write vehicle/+/ack"]
    lines += ["", "pattern write vehicle/%u/telemetry", "pattern write vehicle/%u/events"]
    lines += ["pattern read vehicle/%u/ack", ""]
    return "\n".join(lines)


def check_lander(name: str) -> str:
    """Give back a lander's name.

    Raises:
        ValueError: it does not begin with `lander`, or may not stand in a topic.
    """
    if not check_device_id(name).startswith(RESERVED_PREFIX):
        raise ValueError(f"a lander's name begins with {RESERVED_PREFIX!r}: {name!r} could be a device's")
    return name


def _template() -> str:
    for folder in (_HERE / "broker", _HERE.parent / "broker"):  # in the wheel, in a checkout
        if (folder / "mosquitto.conf").is_file():
            return (folder / "mosquitto.conf").read_text(encoding="utf-8")
    raise FileNotFoundError("mosquitto.conf is missing from this installation of smartdrive-edge")
