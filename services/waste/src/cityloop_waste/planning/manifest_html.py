"""A truck's day on paper: one HTML file for A4 that needs nothing else, in Chinese or English, with a QR code of where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from html import escape

import segno

from cityloop_waste.planning.domain import VisitKind
from cityloop_waste.planning.manifest import Call, Manifest, local

CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Language(StrEnum):
    """Languages of the paper."""

    ZH = "zh"
    EN = "en"


_COLUMNS = ("number", "what", "place", "arrives", "departs", "windows", "containers", "kg", "on_board", "done")
_WORDS: Mapping[Language, Mapping[str, str]] = {
    Language.ZH: {
        "title": "收运单", "truck": "车辆", "stream": "类别", "on": "日期", "plan": "计划", "version": "版本", "draft": "未发布",
        "distance": "里程", "hours": "时长", "stops": "收集点", "number": "序", "what": "作业", "place": "地点", "arrives": "到达",
        "departs": "离开", "windows": "时间窗", "containers": "桶数", "kg": "千克", "on_board": "车上千克", "done": "完成", "lunch": "午休",
        "depot-start": "出场", "underway": "途中", "stop": "收集", "unload": "卸料", "depot-end": "回场",
        "recyclable": "可回收物", "kitchen": "厨余垃圾", "hazardous": "有害垃圾", "other": "其他垃圾", "construction": "建筑垃圾",
        "stranded": "该车故障停驶, 其余任务已转给其他车辆", "printed": "以系统中的最新版本为准",
    },
    Language.EN: {
        "title": "Manifest", "truck": "Truck", "stream": "Stream", "on": "Day", "plan": "Plan", "version": "Version",
        "draft": "not published", "distance": "Way", "hours": "Hours", "stops": "Stops", "number": "No.", "what": "What", "place": "Place",
        "arrives": "Arrive", "departs": "Leave", "windows": "Windows", "containers": "Bins", "kg": "kg", "on_board": "kg on board",
        "done": "Done", "lunch": "Lunch",
        "depot-start": "Leave the depot", "underway": "Under way", "stop": "Collect", "unload": "Unload", "depot-end": "Back at the depot",
        "recyclable": "recyclable", "kitchen": "kitchen", "hazardous": "hazardous", "other": "other", "construction": "construction",
        "stranded": "This truck broke down; the rest of its stops went to others", "printed": "The newest version in the system counts",
    },
}  # fmt: skip
_STYLE = """
@page { size: A4; margin: 12mm }
body { font: 10pt/1.35 "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; color: #000; background: #fff; max-width: 186mm; margin: 0 auto }
header { display: flex; justify-content: space-between; align-items: flex-start; gap: 6mm }
h1 { font-size: 16pt; margin: 0 0 2mm }
dl { display: grid; grid-template-columns: auto 1fr auto 1fr; gap: 1mm 3mm; margin: 0 }
dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin-top: 4mm }
thead { display: table-header-group } tr { break-inside: avoid }
th, td { border: 0.3pt solid #666; padding: 1mm 1.5mm; text-align: left; vertical-align: top }
td.n { text-align: right; white-space: nowrap }
tr.unload td, tr.lunch td { background: #eee; -webkit-print-color-adjust: exact; print-color-adjust: exact }
.warn { border: 1pt solid #000; padding: 1mm 2mm; font-weight: 600 } footer { font-size: 8pt; margin-top: 3mm; overflow-wrap: anywhere }
"""


def to_html(of: Manifest, language: Language, *, base: str = "") -> bytes:
    """The paper. What comes from a registry is escaped. `base` is the city's address without a slash at its end, for the QR code."""
    words = _WORDS[language]
    title = f"{words['title']} {of.truck} {of.on}"
    code = segno.make(base + of.path, error="m", micro=False).svg_inline(scale=3, border=2)
    head = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in _about(of, words))
    warn = f'<p class="warn">{words["stranded"]}</p>' if of.stranded else ""
    columns = "".join(f'<th scope="col">{words[name]}</th>' for name in _COLUMNS)
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body><header><div><h1>{escape(title)}</h1>'
        f"<dl>{head}</dl></div>{code}</header>{warn}\n<table><thead><tr>{columns}</tr></thead>\n<tbody>\n"
        f"{''.join(_rows(of, language))}</tbody></table>\n<footer>{words['printed']}: {escape(base + of.path)}</footer></body></html>\n"
    ).encode()


def _about(of: Manifest, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield words["truck"], of.truck
    yield words["stream"], words[of.stream]
    yield words["on"], str(of.on)
    yield words["version"], words["draft"] if of.version is None else str(of.version)
    yield words["distance"], f"{of.distance_m / 1000:.1f} km"
    yield words["hours"], f"{of.duration_s // 3600}:{of.duration_s % 3600 // 60:02d}"
    yield words["stops"], str(of.stops)
    yield words["plan"], of.plan_id


def _rows(of: Manifest, language: Language) -> Iterator[str]:
    """Each call, and lunch before the first one that begins after it."""
    lunch = of.lunch
    for call in of.calls:
        if lunch is not None and call.starts_at >= lunch[1]:
            yield _lunch(lunch, language)
            lunch = None
        yield _row(call, language)
    if lunch is not None:
        yield _lunch(lunch, language)


def _row(call: Call, language: Language) -> str:
    named = call.name_en if language is Language.EN and call.name_en else call.name
    place = named if call.id in (None, named) else f"{named} ({call.id})"
    stop = call.kind is VisitKind.STOP
    figures = (_clock(call.arrives_at), _clock(call.departs_at)), (call.containers or "", call.kg) if stop else ("", "")
    cells = [
        f'<td class="n">{call.number}</td><td>{_WORDS[language][call.kind.value]}</td><td>{escape(place)}</td>',
        *(f'<td class="n">{each}</td>' for each in figures[0]),
        f"<td>{escape(' '.join(call.windows))}</td>",
        *(f'<td class="n">{each}</td>' for each in (*figures[1], call.load_kg)),
        "<td></td>",
    ]
    return f'<tr class="{call.kind.value}">{"".join(cells)}</tr>\n'


def _lunch(lunch: tuple[datetime, datetime], language: Language) -> str:
    empty = "<td></td>" * 5
    times = "".join(f'<td class="n">{_clock(each)}</td>' for each in lunch)
    return f'<tr class="lunch"><td></td><td>{_WORDS[language]["lunch"]}</td><td></td>{times}{empty}</tr>\n'


def _clock(at: datetime) -> str:
    """Hours and minutes by the city's clock."""
    return local(at).strftime("%H:%M")
