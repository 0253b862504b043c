"""The pages of a certificate: one for the buyer, then what it rests on."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from typing import Any, Final

from smartdrive_api.certificates import drawing
from smartdrive_api.certificates.contract import Contract, Figure
from smartdrive_api.certificates.drawing import GREY, HEIGHT, INNER, MARGIN, WIDTH, Bar, Point, Sheets

TITLE: Final = "Vehicle certificate"
UNKNOWN: Final = "unknown"
_WARN: Final = 80.0
_NAMED: Final = 8  # codes on the first page
_WHY: Final = {
    "no_conclusive_crank": "No start has told enough.",
    "baseline_incomplete": "The car has not had the ten conclusive starts yet that its battery is compared with.",
    "baseline_too_low": "The battery was weak from the beginning: there is nothing to compare it with.",
}
_LIMITS: Final = (
    "The distance is what was recorded while the collector was in the car. It is not the reading of the odometer, "
    "and what was driven without the collector is missing.",
    "The state of health is an estimate for the 12 V starter battery, from the voltage while the starter turns, "
    "compared with this car's own first ten conclusive starts. It says nothing of a traction battery.",
    "Driving style is a score of hard brakings, hard accelerations and idling. It predicts no crash and tells "
    "nothing of who drove.",
    "Trouble codes are those that were there when the car was asked. Codes that somebody cleared before are not "
    "known, nor is whether a car without codes was ever asked. Severity is editorial: no standard ranks codes.",
    "Damage, repairs, tyres, brakes and bodywork are not looked at. A certificate replaces no inspection.",
    "The signature says that the issuer's SmartDrive gave out this file and that nobody changed it since. It does "
    "not say that the collector sat in this car, nor that it sat there all the time.",
)


def rendered(agreed: Contract, said: dict[str, Any], fingerprint: str) -> bytes:
    """The PDF, without attachment and signature.

    Args:
        agreed: the contract.
        said: what the certificate says.
        fingerprint: of the authority that will vouch for it.
    """
    footer = f"SmartDrive certificate {said['number']} · issued {_when(said['issued_at'])}"

    def drawn(pages: int | None) -> tuple[bytes, int]:
        stream = BytesIO()
        sheets = Sheets(stream, TITLE, footer, pages)
        _front(sheets, said, fingerprint)
        sheets.turn()
        _plots(sheets, said)
        _codes(sheets, said)
        _evidence(sheets, agreed, said)
        count = sheets.finish()
        return stream.getvalue(), count

    return drawn(drawn(None)[1])[0]


def worded(figure: Figure, value: Any) -> str:
    """A figure's value as it is printed."""
    if value is None:
        return figure.absent
    if figure.kind == "float":
        text = f"{value:,.{figure.decimals}f}"
    else:
        text = f"{value:,}" if figure.kind == "int" else str(value)
    return f"{text} {figure.unit}".rstrip()


def _front(sheets: Sheets, said: dict[str, Any], fingerprint: str) -> None:
    of = said["figures"]
    sheets.bar(0, HEIGHT - 10, WIDTH, 10, drawing.ACCENT)
    sheets.y -= 28
    sheets.put(MARGIN, sheets.y, TITLE, 25, bold=True)
    sheets.put(WIDTH - MARGIN, sheets.y + 12, f"Issued {_when(said['issued_at'])}", 9.5, align="right")
    sheets.put(
        WIDTH - MARGIN, sheets.y - 2, f"Valid until {said['valid_until'][:10]}", 9.5, colour=GREY, align="right"
    )
    sheets.y -= 34
    sheets.put(MARGIN, sheets.y, said["vin"], 17, bold=True, colour=drawing.ACCENT)
    sheets.put(MARGIN, sheets.y - 14, "Vehicle identification number: compare it with the car's", 8.5, colour=GREY)
    if said["name"]:
        sheets.block(MARGIN + 260, sheets.y, INNER - 260, f"“{said['name']}”", 11, most=2)
    sheets.y -= 24
    sheets.write(_covered(of), 10)
    if said["data_from"]:
        text = f"Nothing from before {_when(said['data_from'])} is shown: the car was somebody else's then."
        sheets.write(text, 10)
    sheets.y -= 14
    cards = (_mileage(of), _battery(of), _style(of), _trouble(said))
    width, height = (INNER - 14) / 2, 142.0
    for number, (title, value, lines) in enumerate(cards):
        x = MARGIN + number % 2 * (width + 14)
        _card(sheets, x, sheets.y - height, (width, height), title, value, lines)
        if number % 2:
            sheets.y -= height + 14
    sheets.y -= 2
    _checking(sheets, said, fingerprint)


def _card(
    sheets: Sheets, x: float, y: float, size: tuple[float, float], title: str, value: str, lines: list[str]
) -> None:
    width, height = size
    sheets.box(x, y, width, height)
    top = y + height
    sheets.put(x + 12, top - 19, title, 10.5, bold=True, colour=GREY)
    sheets.put(x + 12, top - 46, value, 21, bold=True, colour=GREY if value == UNKNOWN else drawing.INK)
    at = top - 64
    for line in lines:
        room = int((at - y) / (1.35 * 9))
        if room > 0:
            at = sheets.block(x + 12, at, width - 24, line, 9, most=room) - 2


def _covered(of: dict[str, Any]) -> str:
    if not of["days_recorded"]:
        return "Nothing has been recorded of this car."
    return (
        f"The record runs from {of['first_day']} to {of['last_day']}. On {of['days_recorded']:,} of these "
        f"{of['days']:,} days something was recorded; of the others nothing is known."
    )


def _mileage(of: dict[str, Any]) -> tuple[str, str, list[str]]:
    title = "Distance recorded"
    if of["distance_km"] is None:
        return title, UNKNOWN, ["No trip of known distance is on record."]
    counted = of["distance_by_odometer_km"]
    lines = [
        f"in {of['trips']:,} trips on {of['days_driven']:,} days.",
        *(
            [f"{of['distance_last_year_km']:,.1f} km of it in the last 365 days on record."]
            if of["distance_last_year_km"] is not None
            else []
        ),
        *(
            [f"The distance of {of['trips_without_distance']:,} trips is unknown and not in the sum."]
            if of["trips_without_distance"]
            else []
        ),
        "This is not the reading of the odometer: look at the car. "
        + ("It was never read." if counted is None else f"The odometer counted {counted:,.1f} km of it."),
    ]
    return title, f"{of['distance_km']:,.1f} km", lines


def _battery(of: dict[str, Any]) -> tuple[str, str, list[str]]:
    title = "12 V battery, state of health"
    status = of["battery_status"]
    if status is None:
        return title, UNKNOWN, ["No start of the engine is on record."]
    verdict = f"Status on {of['battery_status_day']}: {status}."
    if of["battery_soh_pct"] is None:
        return title, UNKNOWN, [verdict, _WHY.get(of["battery_reason"], "No start has told enough.")]
    low, high = of["battery_soh_low_pct"], of["battery_soh_high_pct"]
    interval = "Its interval is unknown." if None in {low, high} else f"95 % interval: {low:.0f} to {high:.0f} %."
    lines = [
        f"{interval} Estimated on {of['battery_soh_day']}, confidence {of['battery_confidence']}.",
        verdict,
        f"{of['starts_failing'] or 0:,} of {of['starts_conclusive'] or 0:,} conclusive starts were too weak.",
    ]
    return title, f"{of['battery_soh_pct']:.0f} %", lines


def _style(of: dict[str, Any]) -> tuple[str, str, list[str]]:
    title = "Driving style"
    if of["score"] is None:
        weeks = of["weeks_driven"]
        why = f"None of {weeks:,} weeks with a trip has a score." if weeks else "No week with a trip is on record."
        return title, UNKNOWN, [why]
    lines = [
        f"Mean of {of['weeks_scored']:,} scored weeks, of {of['weeks_driven']:,} with a trip; "
        f"the weeks lie between {of['score_lowest']:.0f} and {of['score_highest']:.0f}.",
        f"Per 100 km: {_number(of['brakings_per_100km'])} hard brakings, "
        f"{_number(of['accelerations_per_100km'])} hard accelerations.",
        "A score of style: it predicts no crash.",
    ]
    return title, f"{of['score']:.0f} of 100", lines


def _trouble(said: dict[str, Any]) -> tuple[str, str, list[str]]:
    of = said["figures"]
    title = "Trouble codes"
    if not of["codes_found"]:
        value = "none on record" if of["days_recorded"] else UNKNOWN
        return title, value, ["This does not tell a car without faults from one that was never asked."]
    open_ = sorted({row[2] for row in said["rows"]["dtc_episodes"] if row[8]})
    lines = [
        f"Open: {', '.join(open_[:_NAMED])}{' and others' if open_[_NAMED:] else ''}."
        if open_
        else "Every code that was there has been seen to be gone.",
        f"Of these critical: {of['codes_open_critical']:,}.",
        f"{of['codes_distinct']:,} different codes came {of['codes_found']:,} times in all: see the list.",
        "Severity is editorial: no standard ranks codes.",
    ]
    return title, f"{of['codes_open']:,} open", lines


def _checking(sheets: Sheets, said: dict[str, Any], fingerprint: str) -> None:
    where = said["issuer"].rstrip("/")
    sheets.put(MARGIN, sheets.y - 12, "Is it genuine?", 10.5, bold=True, colour=GREY)
    sheets.y -= 14
    for text in (
        "Pages can be copied and changed; the signature cannot. Open this file, not a print of it, and check it:",
        f"1. Get the issuer's authority once, from {where}/.well-known/certificate-authority.pem or in person.",
        "2. Run: smartdrive verify certificate.pdf --authority certificate-authority.pem",
        "It checks the signature, computes each figure anew from the rows in the file, and prints the figures: "
        "they must be the ones that you see here.",
        f"Authority, SHA-256: {fingerprint}",
    ):
        sheets.write(text, 8.5, colour=GREY if text.startswith("Authority") else drawing.INK)
    sheets.y -= 26
    sheets.put(MARGIN, sheets.y, "What this certificate does not say", 10.5, bold=True, colour=GREY)
    sheets.y -= 2
    for text in _LIMITS:
        sheets.write(f"• {text}", 8.5)


def _plots(sheets: Sheets, said: dict[str, Any]) -> None:
    sheets.heading("Health of the 12 V battery, by day")
    days = said["rows"]["battery_health"]
    points = [Point(date.fromisoformat(row[0]), *row[4:7]) for row in days if row[4] is not None]
    if points:
        sheets.write(
            f"Points: estimate; lines: its 95 % interval. Under the red line, at {_WARN:.0f} %, it is a warning.",
            8.5,
            colour=GREY,
        )
        sheets.y -= 12
        drawing.plot_points(sheets, points, points[0].day, points[-1].day, warn=_WARN, height=190)
    else:
        sheets.write("No day tells the state of health.")
    sheets.heading("Distance recorded, by month")
    bars = [Bar(date.fromisoformat(month), value) for month, value in said["distance_by_month"]]
    if bars:
        text = "UTC months in which trips began. A month without a bar: nothing driven, or nothing recorded."
        sheets.write(text, 8.5, colour=GREY)
        sheets.y -= 12
        drawing.plot_bars(sheets, bars, unit="km", height=170)
    else:
        sheets.write("No trip is on record.")


def _codes(sheets: Sheets, said: dict[str, Any]) -> None:
    sheets.heading("Trouble codes, the newest first")
    rows = list(reversed(said["rows"]["dtc_episodes"]))
    if not rows:
        sheets.write("None on record.")
        return
    width = INNER - 176
    for opened, seen, code, title, title_hu, tier, severity, status, is_open, lamp, _ in rows:
        titles = [*drawing.broken(title, width, 9.5)[:4], *drawing.broken(title_hu or "", width, 8.5)[:3]]
        sheets.need(13 * max(2, len(titles)) + 10)
        sheets.y -= 8
        sheets.line(MARGIN, sheets.y, WIDTH - MARGIN, sheets.y)
        top = sheets.y - 13
        colour = drawing.BAD if is_open and severity == "critical" else drawing.INK
        sheets.put(MARGIN, top, code, 10.5, bold=True, colour=colour)
        sheets.put(MARGIN, top - 12, f"{severity}, {status}", 8, colour=GREY)
        at = sheets.block(MARGIN + 88, top, width, title, 9.5, most=4)
        at = sheets.block(MARGIN + 88, at, width, title_hu or "", 8.5, colour=GREY, most=3)
        sheets.put(
            WIDTH - MARGIN, top, "open" if is_open else "gone", 9.5, bold=is_open, colour=colour, align="right"
        )
        sheets.put(WIDTH - MARGIN, top - 12, f"{opened} to {seen}", 8, colour=GREY, align="right")
        lamp_text = {True: "lamp on", False: "lamp off", None: "lamp unknown"}[lamp]
        sheets.put(WIDTH - MARGIN, top - 23, f"{lamp_text}, title: {tier}", 8, colour=GREY, align="right")
        sheets.y = min(at + 8, top - 26)


def _evidence(sheets: Sheets, agreed: Contract, said: dict[str, Any]) -> None:
    sheets.turn()
    sheets.heading("Every figure")
    sheets.write("Recomputable from the rows in the attachment, and from nothing else.", 8.5, colour=GREY)
    for section, words in agreed.sections.items():
        sheets.need(50)
        sheets.y -= 20
        sheets.put(MARGIN, sheets.y, words, 10.5, bold=True)
        for name, figure in agreed.figures.items():
            if figure.section == section:
                _figure(sheets, name, figure, said["figures"][name])
    sheets.heading("What it was made from")
    sheets.write(f"SHA-256 of the rows: {said['digest']}", 8.5)
    sheets.write(f"Figures as defined in {said['schema']}, SHA-256 {said['contract']}", 8.5)
    sheets.write(f"The rows and figures are in this file as {agreed.attachment}.", 8.5)
    for name, table in agreed.tables.items():
        pins = said["pins"][table.source]
        versions = sorted(set(pins["days"].values()))
        count = len(said["rows"][name])
        text = f"{table.source}: {count:,} rows ({table.words})"
        if versions:
            span = f"{versions[0]} to {versions[-1]}" if versions[1:] else f"{versions[0]}"
            text += (
                f"; Delta version {span}; published until {_when(pins['published_at'])}; content {pins['content']}"
            )
        sheets.y -= 2
        sheets.write(text, 8.5)


def _figure(sheets: Sheets, name: str, figure: Figure, value: Any) -> None:
    lines = drawing.broken(f"{figure.words}{f' ({figure.how})' if figure.how else ''}", 290, 8.5)
    sheets.need(11.5 * len(lines) + 4)
    sheets.y -= 13
    y = sheets.y
    for line in lines:
        sheets.put(MARGIN, sheets.y, line, 8.5)
        sheets.y -= 11.5
    sheets.put(MARGIN + 300, y, name, 7.5, colour=GREY)
    sheets.put(WIDTH - MARGIN, y, worded(figure, value), 9, bold=True, align="right")
    sheets.y += 11.5


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"


def _when(instant: str) -> str:
    return f"{instant[:10]} {instant[11:16]} UTC"
