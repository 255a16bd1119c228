-- Orders that we mean to send, stored before they are sent.
-- Grain: client_order_id
-- client_order_id  batch, line and attempt: the broker refuses to take it twice
-- batch_id         the decision
-- line             its line
-- attempt          1, 2, ...
-- stored_at        UTC
CREATE TABLE ledger.intents (
    client_order_id VARCHAR PRIMARY KEY,
    batch_id VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    stored_at TIMESTAMP NOT NULL
);
