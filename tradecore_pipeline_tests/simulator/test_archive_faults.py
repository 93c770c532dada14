import hashlib
import zipfile
from collections.abc import Iterator
from io import BytesIO

import pytest

from tradecore_pipeline_tests.simulator.faulty import Server, simulated, stubbed

FOLDER = "data/futures/um/daily/klines/BTCUSDT/1m/"
ZIP = f"/{FOLDER}BTCUSDT-1m-2025-02-01.zip"
CHECKSUM = f"{ZIP}.CHECKSUM"
LISTING = f"/?prefix={FOLDER}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with simulated() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_plan_left(server: Server) -> Iterator[None]:
    yield
    server.clear()


def lines_of(content: bytes) -> list[bytes]:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0]).splitlines()


def test_a_wrong_checksum_has_the_right_form(server: Server) -> None:
    truth = server.get(CHECKSUM).text
    server.plan({"fault": "wrong_checksum"})
    wrong = server.get(CHECKSUM).text
    assert len(wrong) == len(truth)
    assert wrong[64:] == truth[64:]
    assert wrong[:64] != truth[:64]
    assert server.get(CHECKSUM).text == truth


def test_a_truncated_zip_is_half_of_the_file(server: Server) -> None:
    truth = server.get(ZIP).content
    server.plan({"fault": "truncated_zip"})
    hit = server.get(ZIP)
    assert hit.content == truth[: len(truth) // 2]
    assert hit.headers["content-length"] == str(len(hit.content))
    assert server.get(ZIP).content == truth


def test_a_short_csv_lacks_rows_but_has_its_own_checksum(server: Server) -> None:
    truth = lines_of(server.get(ZIP).content)
    server.plan({"fault": "short_csv", "argument": 25, "times": 0})
    said = server.get(CHECKSUM).text
    content = server.get(ZIP).content
    lines = lines_of(content)
    assert said == f"{hashlib.sha256(content).hexdigest()}  BTCUSDT-1m-2025-02-01.zip\n"
    assert len(lines) == len(truth) - 25
    assert (lines[:2], lines[-1]) == (truth[:2], truth[-1])
    assert server.get(ZIP).content == content
    server.clear()
    assert lines_of(server.get(ZIP).content) == truth


def test_a_late_file_is_hidden_everywhere_for_so_many_asks(server: Server) -> None:
    listed = server.get(LISTING).text
    late = {"fault": "late_publication", "path": ".*2025-02-01", "times": 3}
    server.plan(late)
    assert server.get(ZIP).status_code == 404
    assert "NoSuchKey" in server.get(CHECKSUM).text
    partly = server.get(LISTING).text
    assert ZIP[1:] not in partly
    assert partly.count("<Key>") == listed.count("<Key>") - 2
    assert server.get(LISTING).text == listed
    assert server.get(ZIP).status_code == 200
    assert server.fired() == [3]
    server.plan(late | {"times": 0})
    assert [server.get(ZIP).status_code for _ in range(5)] == [404] * 5


def test_okx_hides_a_late_file_and_its_link() -> None:
    with stubbed() as stub:
        stub.plan({"fault": "late_publication", "path": ".*2025-02-02", "times": 2})
        files = [stub.get("/api/v5/public/market-data-history?module=2").json() for _ in range(3)]
        names = [[file["filename"][-6:] for file in page["data"][0]["details"][0]["groupDetails"]] for page in files]
        assert names == [["01.zip"], ["01.zip"], ["01.zip", "02.zip"]]
        stub.plan({"fault": "late_publication", "path": ".*2025-02-02"})
        target = "/cdn/okex/BTC-USDT-SWAP-candlesticks-2025-02-02.zip"
        assert [stub.get(target).status_code for _ in range(2)] == [404, 200]


def test_what_does_not_fit_an_answer_is_not_counted_and_leaves_room_for_the_next_rule(server: Server) -> None:
    future = "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=4000000000000"
    server.plan({"fault": "empty_page"}, {"fault": "http_503", "path": "/fapi/"})
    assert server.get(future).status_code == 503
    assert server.get("/data/futures/nothing.zip").status_code == 404
    assert server.fired() == [0, 1]
