-- An order is filled in parts, ends in one of several ways and is tried again; a decision carries its expiry and is
-- approved by a person. Orders of before were filled whole, at the market, in the session of their decision.
ALTER TABLE ledger.batches RENAME TO batches_before;
CREATE TABLE ledger.batches (
    batch_id VARCHAR PRIMARY KEY,
    account_id VARCHAR NOT NULL,
    session_on DATE NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    as_of DATE NOT NULL,
    kind VARCHAR NOT NULL,
    sequence INTEGER NOT NULL,
    batch_hash VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    replaces VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    UNIQUE (account_id, session_on, kind, sequence)
);
INSERT INTO ledger.batches SELECT batch_id, account_id, session_on, session_on + INTERVAL 21 HOUR, as_of, kind, sequence,
    batch_hash, mode, '', run_id, decided_at FROM ledger.batches_before;
DROP TABLE ledger.batches_before;

ALTER TABLE ledger.batch_lines RENAME TO batch_lines_before;
CREATE TABLE ledger.batch_lines (
    batch_id VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    pair INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    lots VARCHAR NOT NULL,
    loss_usd DECIMAL(28, 6) NOT NULL,
    tax_saved_usd DECIMAL(28, 6) NOT NULL,
    reason VARCHAR NOT NULL,
    intended_lots VARCHAR NOT NULL,
    relieved_lots VARCHAR NOT NULL,
    PRIMARY KEY (batch_id, line)
);
INSERT INTO ledger.batch_lines SELECT batch_id, line, pair, 'harvest', * EXCLUDE (batch_id, line, pair) FROM ledger.batch_lines_before;
DROP TABLE ledger.batch_lines_before;

ALTER TABLE ledger.intents RENAME TO intents_before;
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
INSERT INTO ledger.intents SELECT i.client_order_id, i.batch_id, i.line, i.attempt, l.quantity, NULL, NULL, '', i.stored_at
FROM ledger.intents_before AS i JOIN ledger.batch_lines AS l USING (batch_id, line);
DROP TABLE ledger.intents_before;

ALTER TABLE ledger.order_events RENAME TO order_events_before;
CREATE TABLE ledger.order_events (
    client_order_id VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    note VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL,
    PRIMARY KEY (client_order_id, event, transaction_id)
);
INSERT INTO ledger.order_events SELECT client_order_id, 'fill', transaction_id, quantity, note, known_at
FROM ledger.order_events_before JOIN ledger.intents USING (client_order_id) WHERE event = 'filled';
INSERT INTO ledger.order_events
SELECT client_order_id, event, '', CASE WHEN event = 'filled' THEN quantity ELSE 0 END, note, known_at
FROM ledger.order_events_before JOIN ledger.intents USING (client_order_id);
DROP TABLE ledger.order_events_before;

CREATE TABLE ledger.approvals (
    batch_id VARCHAR PRIMARY KEY,
    batch_hash VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    said_at TIMESTAMP NOT NULL
);
