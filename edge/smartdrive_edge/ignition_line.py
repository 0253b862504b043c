"""The ignition line: a wire that says whether the key is on, without asking the car."""

from __future__ import annotations

import errno
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    import gpiod

_CONSUMER: Final = "smartdrive-edge"
_log: Final = logging.getLogger(__name__)
_NEXT_STEPS: Final = {
    errno.ENOENT: "no such chip; `gpiodetect` lists those that there are",
    errno.EACCES: "its user may not open it; add it to the group gpio: sudo usermod -aG gpio USER",
    errno.EPERM: "its user may not open it; add it to the group gpio: sudo usermod -aG gpio USER",
    errno.EBUSY: "the line is taken, by another program or by the kernel; `gpioinfo` says by whom",
    errno.EINVAL: "the chip has no such line, or it cannot be an input with a pull; `gpioinfo` lists its lines",
    errno.ENOTTY: "it is no GPIO chip; `gpiodetect` lists those that there are",
    errno.ENODEV: "it is no GPIO chip; `gpiodetect` lists those that there are",
}


class IgnitionLineError(OSError):
    """The line cannot be used; the text says why and what to do."""


class IgnitionLine(Protocol):
    """Something that knows where the key stands."""

    def read(self) -> bool | None:
        """Whether the ignition is on; None when it cannot be told now, which is not OFF."""


class GpioLine:
    """One line of a GPIO chip, as an input; held until closed.

    A broken wire must not look like a running engine: the chip's own pull holds an open line at OFF, up where the
    line is active low, down otherwise.

    Args:
        chip: device of the chip, such as `/dev/gpiochip0`.
        line: offset on the chip; on a Raspberry Pi the BCM number.
        is_active_low: whether the line is low while the ignition is on, as behind an optocoupler.

    Raises:
        IgnitionLineError: gpiod is not installed, or the line does not exist, may not be opened, or is taken.
    """

    def __init__(self, chip: str, line: int, *, is_active_low: bool = False) -> None:
        try:
            import gpiod
        except ImportError as error:
            raise IgnitionLineError(
                "an ignition line on a GPIO needs gpiod: install smartdrive-edge with its extra [gpio]"
            ) from error
        self._name = f"line {line} of {chip}"
        self._line = line
        self._is_failing = False
        try:
            self._request = gpiod.request_lines(
                chip, {line: line_settings(is_active_low=is_active_low)}, consumer=_CONSUMER
            )
        except (OSError, ValueError) as error:
            number = (error.errno if isinstance(error, OSError) else errno.EINVAL) or 0
            reason = _NEXT_STEPS.get(number, str(error))
            raise IgnitionLineError(f"{self._name}: {reason}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> bool | None:
        """Whether the ignition is on; None where the kernel could not read the line, logged once until it can."""
        import gpiod

        try:
            is_on = self._request.get_value(self._line) is gpiod.line.Value.ACTIVE
        except (OSError, gpiod.RequestReleasedError) as error:
            if not self._is_failing:
                _log.warning("the ignition's %s cannot be read: %s", self._name, error)
            self._is_failing = True
            return None
        self._is_failing = False
        return is_on

    def close(self) -> None:
        """Let go of the line. May be called twice; `read` then gives None."""
        self._request.release()


def line_settings(*, is_active_low: bool) -> gpiod.LineSettings:
    """An input that reads OFF while nothing is connected."""
    import gpiod
    from gpiod.line import Bias, Direction

    bias = Bias.PULL_UP if is_active_low else Bias.PULL_DOWN
    return gpiod.LineSettings(direction=Direction.INPUT, bias=bias, active_low=is_active_low)
