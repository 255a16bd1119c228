-- What the broker said of an order: that it took it, each of its fills, and how it ended.
-- Grain: client_order_id, event, transaction_id
-- client_order_id  the order
-- event            accepted, fill; then one of filled, canceled, expired, rejected
-- transaction_id   of a fill: the transaction as the broker numbers it; else empty
-- quantity         shares of the fill; of an order that ended those filled in all
-- note             the broker's words
-- known_at         UTC
CREATE TABLE ledger.order_events (
    client_order_id VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    note VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL,
    PRIMARY KEY (client_order_id, event, transaction_id)
);
