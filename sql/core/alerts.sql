-- What looks wrong without a broker contradicting the ledger: prices that cannot be believed or are missing, dividends that did not come.
-- Grain: account_id, security_id, kind
-- account_id   account
-- security_id  security that it holds
-- kind         price or dividend
-- text         what was seen, and what to look for
CREATE OR REPLACE TABLE core.alerts (
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    text VARCHAR NOT NULL
);
