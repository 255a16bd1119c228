-- Where a broker and the ledger differ, by how much, and the likely cause: first what stops orders, last what is explained.
-- Grain: account_id, security_id, kind
-- account_id    account
-- security_id   security, or USD for cash
-- kind          shares, cash, settled cash, cost or split
-- broker_says   shares or dollars
-- ledger_says   shares or dollars
-- difference    what the broker says less what the ledger says, shares or dollars
-- unit          shares or USD
-- stated_on     the day that the broker's newest statement speaks for
-- blocks        true: the account takes no orders until it is explained
-- is_explained  true: nothing needs to be done
-- guess         the likely cause
CREATE OR REPLACE VIEW mart.breaks AS
SELECT
    b.account_id, b.security_id, b.kind, b.broker_quantity AS broker_says, b.ledger_quantity AS ledger_says,
    b.broker_quantity - b.ledger_quantity AS difference,
    CASE WHEN b.kind IN ('shares', 'split') THEN 'shares' ELSE 'USD' END AS unit,
    (SELECT max(s.stated_on) FROM core.source_status AS s WHERE s.source = b.account_id AND s.kind = 'positions') AS stated_on,
    b.blocks, b.is_explained, b.guess
FROM core.breaks AS b
ORDER BY b.blocks DESC, b.is_explained, b.account_id, b.security_id, b.kind;
