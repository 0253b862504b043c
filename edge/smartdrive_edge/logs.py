"""What the collector writes to standard error: JSON lines for journald, or text for a person, without VINs.

structlog renders, the standard library routes: our loggers, paho's and python-OBD's all end in one handler, and
what looks like a VIN is blotted out of every string, exceptions and keys included.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from smartdrive_edge.redaction import redacted

Format = Literal["json", "text"]


def set_up(format: Format, level: str) -> None:  # noqa: A002 - the name that the configuration has
    """Send all logging to standard error. May be called again; the last call counts.

    Every line has `timestamp` (ISO 8601, UTC, as good as the clock), `level`, `logger` and `event`. What ends the
    program or a thread unexpectedly is logged too, as `critical`, so that its traceback is redacted as well.

    Args:
        format: `json`: one object a line; `text`: for a person.
        level: least level that is written, such as `INFO`.
    """
    import obd  # noqa: F401 - its import gives its logger a handler that writes past ours: it must lie behind us

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_common(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("obd", "paho"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Loggers are made when modules are imported, before this is called, and again by a test's second call.
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _rendering(format: Format) -> list[Processor]:  # noqa: A002 - as above
    if format == "json":
        return [_redact, structlog.processors.JSONRenderer(ensure_ascii=False)]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [_redact, console]


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    clean: EventDict = redacted(event)
    return clean


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, thread: str | None = None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    where = f"thread {thread}" if thread else "the program"
    logging.getLogger(__name__).critical("%s ended by an error", where, exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback, name)
