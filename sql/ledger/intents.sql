-- Orders that we mean to send, stored before they are sent.
-- Grain: client_order_id
-- client_order_id  batch, line and attempt: the broker refuses to take it twice
-- batch_id         the decision
-- line             its line
-- attempt          1, 2, ...
-- quantity         shares of this attempt: what is left of the line
-- limit_usd        the collar, USD a share; empty: at the market
-- notional_usd     a purchase in dollars, where the broker takes one; empty: in shares
-- lots             lots that go with it, LOT:QTY;LOT:QTY; empty: none do
-- stored_at        UTC
CREATE TABLE ledger.intents (
    client_order_id VARCHAR PRIMARY KEY,
    batch_id VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    limit_usd DECIMAL(28, 9),
    notional_usd DECIMAL(28, 6),
    lots VARCHAR NOT NULL,
    stored_at TIMESTAMP NOT NULL
);
