-- The ledger carries every kind of event, a decision says which lots are meant and which the broker relieves, and an
-- identification says how and until when. Rows of before: trades, whose lots went with the order.
ALTER TABLE ledger.transactions RENAME TO transactions_before;
CREATE TABLE ledger.transactions (
    transaction_id VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    account_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    fee_usd DECIMAL(28, 6) NOT NULL,
    amount_usd DECIMAL(28, 6) NOT NULL,
    traded_on DATE NOT NULL,
    traded_at TIME,
    lots VARCHAR NOT NULL,
    delivery_id VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL,
    payload_hash VARCHAR NOT NULL,
    details VARCHAR NOT NULL,
    PRIMARY KEY (transaction_id, version)
);
INSERT INTO ledger.transactions SELECT *, '{}' FROM ledger.transactions_before;
DROP TABLE ledger.transactions_before;

ALTER TABLE ledger.batch_lines RENAME TO batch_lines_before;
CREATE TABLE ledger.batch_lines (
    batch_id VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    pair INTEGER NOT NULL,
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
INSERT INTO ledger.batch_lines SELECT *, lots, lots FROM ledger.batch_lines_before;
DROP TABLE ledger.batch_lines_before;

ALTER TABLE ledger.lot_identifications RENAME TO lot_identifications_before;
CREATE TABLE ledger.lot_identifications (
    client_order_id VARCHAR PRIMARY KEY,
    lots VARCHAR NOT NULL,
    identified_at TIMESTAMP NOT NULL,
    confirmed_by VARCHAR NOT NULL,
    how VARCHAR NOT NULL,
    deadline_at TIMESTAMP
);
INSERT INTO ledger.lot_identifications SELECT *, 'order', NULL FROM ledger.lot_identifications_before;
DROP TABLE ledger.lot_identifications_before;
