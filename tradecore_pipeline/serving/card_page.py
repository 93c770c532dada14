"""The page that a card is kept as beside its run: one file, without scripts or requests."""

from html import escape

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:980px;padding:16px 24px;color:#1c2430;
background:#fff}h1{font-size:22px;margin:0}h2{font-size:16px;margin:24px 0 6px}p{color:#4a5565;margin:4px 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:4px 0 4px 18px;text-align:right;
border-bottom:1px solid #e3e7ee;white-space:nowrap}th:first-child,td:first-child{text-align:left;padding-left:0}
th{font-weight:600}svg{font-family:system-ui,sans-serif;max-width:100%;height:auto}"""


def card_page(title: str, *parts: str) -> str:
    """The page called ``title`` with ``parts``, which are HTML, below each other."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{''.join(parts)}<p>Times are UTC. Research, not investment advice.</p></body></html>"
    )
