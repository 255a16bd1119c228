-- What the broker said of an order: accepted, rejected, filled.
-- Grain: client_order_id, event, transaction_id
-- client_order_id  the order
-- event            accepted, rejected or filled
-- transaction_id   the fill, as the broker numbers it; empty unless filled
-- note             the broker's words
-- known_at         UTC
CREATE TABLE ledger.order_events (
    client_order_id VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL,
    PRIMARY KEY (client_order_id, event, transaction_id)
);
