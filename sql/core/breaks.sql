-- Differences between what a broker says and the ledger, and splits that the ledger lacks.
-- Grain: account_id, security_id, kind
-- account_id       account
-- security_id      security, or USD for cash
-- kind             shares, cash (by trade date), settled cash, cost (of open lots, by the broker's view), or split (in the feed, not in the ledger)
-- broker_quantity  what the broker says, shares or dollars; of a split the shares that it makes
-- ledger_quantity  what the ledger says, shares or dollars
-- blocks           true: the account takes no orders until it is explained
-- is_explained     true: the difference is known for what it is, and nothing needs to be done
-- guess            the likely cause
CREATE OR REPLACE TABLE core.breaks (
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    broker_quantity DECIMAL(28, 9) NOT NULL,
    ledger_quantity DECIMAL(28, 9) NOT NULL,
    blocks BOOLEAN NOT NULL,
    is_explained BOOLEAN NOT NULL,
    guess VARCHAR NOT NULL
);
