"""Activities as Alpaca tells them, for tests."""


def fill(number: int, *, qty="1", price="10", side="buy", symbol="AAPL", at="2026-11-20T15:00:00Z", **more) -> dict:
    return {
        "id": f"20261120{number:09d}::{number:04d}",
        "activity_type": "FILL",
        "transaction_time": at,
        "type": "fill",
        "price": price,
        "qty": qty,
        "side": side,
        "symbol": symbol,
        "leaves_qty": "0",
        "order_id": "o-1",
        "cum_qty": qty,
    } | more


def nta(number: int, kind: str, **more) -> dict:
    return {
        "id": f"20261120{number:09d}::{number:04d}",
        "activity_type": kind,
        "date": "2026-11-20",
        "status": "executed",
    } | more
