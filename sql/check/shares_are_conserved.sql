-- Shares bought less shares sold are the shares in open lots, in every account.
WITH ledger AS (
    SELECT account_id, security_id, sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS quantity
    FROM stg.transactions
    WHERE kind = 'trade' AND traded_on <= $as_of AND transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
    GROUP BY ALL
), lots AS (SELECT account_id, security_id, sum(quantity) AS quantity FROM core.lots GROUP BY ALL)
SELECT account_id, security_id, ledger.quantity AS ledger_quantity, lots.quantity AS lots_quantity
FROM ledger FULL JOIN lots USING (account_id, security_id)
WHERE coalesce(ledger.quantity, 0) <> coalesce(lots.quantity, 0);
