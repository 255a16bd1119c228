-- Differences between the broker's positions and the ledger; an account with one takes no orders.
-- Grain: account_id, security_id
-- account_id       account
-- security_id      security, or USD for cash
-- broker_quantity  what the broker says, shares or dollars
-- ledger_quantity  what the ledger says, shares or dollars
-- guess            the likely cause
CREATE OR REPLACE TABLE core.breaks (
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    broker_quantity DECIMAL(28, 9) NOT NULL,
    ledger_quantity DECIMAL(28, 9) NOT NULL,
    guess VARCHAR NOT NULL
);
