"""A Binance in miniature on loopback: archive, listing and REST over hand-made rows, with faults on request."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tradecore_pipeline.domain.time import day_start

MINUTE_MS = 60_000
KLINES_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
METRICS_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def minutes(day: date, first: int = 0, after: int = 1440) -> list[int]:
    start = ms(day_start(day))
    return [start + minute * MINUTE_MS for minute in range(first, after)]


def kline(stamp: int) -> list[object]:
    """One bar whose values depend on its minute alone."""
    base = 100 + stamp // MINUTE_MS % 1000
    return [
        stamp,
        f"{base}.10",
        f"{base + 2}.00000001",
        f"{base - 1}.5",
        f"{base}.90000000",
        "1.5",
        stamp + MINUTE_MS - 1,
        f"{1.5 * base}",
        7,
        "0.5",
        f"{0.5 * base}",
        "0",
    ]


def klines_csv(stamps: list[int], *, header: bool, scale: int = 1) -> bytes:
    rows = ([row[0] * scale, *row[1:]] for row in map(kline, stamps))
    lines = [KLINES_HEADER] * header + [",".join(map(str, row)) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def premium(stamp: int) -> list[object]:
    """One bar of the premium index, below zero every other minute."""
    sign = "-" if stamp // MINUTE_MS % 2 else ""
    values = [f"{sign}0.0001", "0.00020001", "-0.00030000", f"{sign}0.00009999"]
    return [stamp, *values, "0", stamp + MINUTE_MS - 1, "0", 12, "0", "0", "0"]


def premium_csv(stamps: list[int]) -> bytes:
    lines = [KLINES_HEADER, *(",".join(map(str, premium(stamp))) for stamp in stamps)]
    return ("\n".join(lines) + "\n").encode()


def metrics_csv(moments: list[datetime], symbol: str = "BTCUSDT") -> bytes:
    lines = [METRICS_HEADER]
    for moment in moments:
        base = open_interest_at(moment)
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S},{symbol},{base},{base * 100},1.1,1.2,1.3,{0.5 + moment.minute / 100}")
    return ("\n".join(lines) + "\n").encode()


def open_interest_at(moment: datetime) -> float:
    return 80_000 + (ms(moment) // 300_000 % 997) / 8


def snapshots(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(minutes=5) * step for step in range(count)]


def funding_csv(rows: list[tuple[int, str]], hours: int = 8) -> bytes:
    lines = ["calc_time,funding_interval_hours,last_funding_rate", *(f"{t},{hours},{rate}" for t, rate in rows)]
    return ("\n".join(lines) + "\n").encode()


def zipped(csv: bytes, name: str = "data.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, csv)
    return buffer.getvalue()


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    """Bytes that are promised but not sent."""


@dataclass
class FakeBinance:
    now: datetime = datetime(2024, 6, 20, 12, 0, 30, tzinfo=UTC)
    market: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, datetime] = field(default_factory=dict)
    """When a file was last written, where the listing tells."""
    bars: set[int] = field(default_factory=set)
    premium: set[int] = field(default_factory=set)
    symbol_info: list[dict[str, object]] = field(default_factory=list)
    funding: list[tuple[int, str]] = field(default_factory=list)
    open_interest: list[datetime] = field(default_factory=list)
    symbols: set[str] = field(default_factory=lambda: {"BTCUSDT"})
    page_keys: int = 1000
    faults: list[tuple[str, int, Answer]] = field(default_factory=list)
    """(part of the path, how many times, answer)."""
    log: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, key: str, csv: bytes) -> None:
        self.files[key] = zipped(csv, key.rpartition("/")[2].replace(".zip", ".csv"))

    def put_day(self, day: date, stamps: list[int], *, kind: str = "um") -> None:
        root = "data/futures/um" if kind == "um" else "data/spot"
        csv = klines_csv(stamps, header=kind == "um")
        self.put(f"{root}/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{day}.zip", csv)

    def put_month(self, month: str, stamps: list[int]) -> None:
        key = f"data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-{month}.zip"
        self.put(key, klines_csv(stamps, header=True))

    def put_metrics(self, day: date, moments: list[datetime]) -> None:
        self.put(f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{day}.zip", metrics_csv(moments))

    def put_funding(self, month: str, rows: list[tuple[int, str]]) -> None:
        self.put(f"data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-{month}.zip", funding_csv(rows))

    def put_premium(self, day: date, stamps: list[int]) -> None:
        key = f"data/futures/um/daily/premiumIndexKlines/BTCUSDT/1m/BTCUSDT-1m-{day}.zip"
        self.put(key, premium_csv(stamps))

    def asked(self, part: str) -> int:
        return sum(part in path for path in self.log)

    def answer(self, target: str) -> Answer:
        with self.lock:
            self.log.append(target)
            for index, (part, times, answer) in enumerate(self.faults):
                if part in target and times > 0:
                    self.faults[index] = (part, times - 1, answer)
                    return answer
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "prefix" in query:
            return Answer(200, self.listing(query["prefix"], query.get("marker", "")))
        if parts.path.startswith("/data/"):
            return self.file(parts.path.removeprefix("/"))
        return self.rest(parts.path, query)

    def listing(self, prefix: str, marker: str) -> bytes:
        keys = [n for key in self.files for n in (key, f"{key}.CHECKSUM") if n.startswith(prefix)]
        names = sorted(entry for entry in {self._entry(key, prefix) for key in keys} if entry > marker)
        page = names[: self.page_keys]
        described = "".join(self._described(key) for key in page)
        more = f"<IsTruncated>{'true' if len(names) > len(page) else 'false'}</IsTruncated>"
        body = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{more}{described}</ListBucketResult>'
        return f'<?xml version="1.0"?>{body}'.encode()

    def _entry(self, name: str, prefix: str) -> str:
        folder, slash, _ = name.removeprefix(prefix).partition("/")
        return f"{prefix}{folder}{slash}"

    def _described(self, name: str) -> str:
        if name.endswith("/"):
            return f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
        at = self.written.get(name)
        written = "" if at is None else f"<LastModified>{at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        return f"<Contents><Key>{name}</Key>{written}</Contents>"

    def file(self, key: str) -> Answer:
        name = key.removesuffix(".CHECKSUM")
        if name not in self.files:
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        body = self.files[name]
        if name != key:
            body = f"{hashlib.sha256(body).hexdigest()}  {name.rpartition('/')[2]}\n".encode()
        return Answer(200, body)

    def rest(self, path: str, query: dict[str, str]) -> Answer:
        if path.endswith("/time"):
            return _json({"serverTime": ms(self.now)})
        if path.endswith("/exchangeInfo"):
            return _json({"symbols": self.symbol_info})
        if query.get("symbol") not in self.symbols:
            return _json({"code": -1121, "msg": "Invalid symbol."}, 400)
        limit, start = int(query.get("limit", 500)), int(query.get("startTime", 0))
        after = int(query.get("endTime", ms(self.now)))
        rows: dict[int, object] = {}
        if path.endswith("/klines"):
            rows = {t: kline(t) for t in self.bars}
        elif path.endswith("/premiumIndexKlines"):
            rows = {t: premium(t) for t in self.premium}
        elif path.endswith("/fundingRate"):
            rows = {t: {"symbol": "BTCUSDT", "fundingTime": t, "fundingRate": rate} for t, rate in self.funding}
        elif "startTime" in query and start < ms(self.now - timedelta(days=30)):
            return _json({"code": -1130, "msg": "parameter 'startTime' is invalid."}, 400)
        else:
            rows = {ms(moment): _snapshot(moment) for moment in self.open_interest}
        shown = [rows[t] for t in sorted(rows) if start <= t <= min(after, ms(self.now))]
        return _json(shown[:limit] if "startTime" in query else shown[-limit:])


def _snapshot(moment: datetime) -> dict[str, object]:
    base = open_interest_at(moment)
    return {"timestamp": ms(moment), "sumOpenInterest": str(base), "sumOpenInterestValue": str(base * 100)}


def _json(payload: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(payload).encode(), {"Content-Type": "application/json"})


def handler(fake: FakeBinance) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = fake.answer(self.path)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if fake.market:
                self.send_header("X-Tradecore-Market", fake.market)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) - answer.cut])
            self.close_connection = self.close_connection or bool(answer.cut)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing to standard error: the fake has its own log."""

    return Handler


@contextmanager
def serving() -> Generator[FakeBinance]:
    """A miniature exchange that answers on a free port of this machine."""
    fake = FakeBinance()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()
