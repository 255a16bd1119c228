-- Shares that came less shares that went are the shares in open lots, in every account. Covers every holding that no split, merger, new symbol, spin-off, exercise or correction has touched.
WITH touched AS (
    SELECT unnest([security_id, coalesce(details ->> 'new_security_id', ''), coalesce(details ->> 'underlying_id', '')]) AS security_id
    FROM stg.transactions
    WHERE kind IN ('split', 'merger', 'symbol_change', 'spin_off', 'option_exercise', 'option_assign') AND traded_on <= $as_of
    UNION ALL
    SELECT o.security_id FROM stg.transactions AS c JOIN stg.transactions AS o ON o.transaction_id = c.details ->> 'corrects'
), moved AS (
    SELECT account_id, security_id, CASE side WHEN 'buy' THEN quantity ELSE -quantity END AS quantity
    FROM stg.transactions
    WHERE kind IN (
        'trade', 'transfer', 'gift', 'inheritance', 'dividend_reinvested', 'award', 'cash_in_lieu', 'option_open', 'option_close',
        'option_expire', 'short_open', 'short_close'
    ) AND traded_on <= $as_of AND transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
    UNION ALL
    SELECT details ->> 'to_account_id', security_id, quantity
    FROM stg.transactions
    WHERE kind = 'transfer' AND traded_on <= $as_of AND transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
), ledger AS (
    SELECT account_id, security_id, sum(quantity) AS quantity FROM moved
    WHERE security_id NOT IN (SELECT security_id FROM touched) GROUP BY ALL
), lots AS (
    SELECT account_id, security_id, sum(quantity) AS quantity FROM core.lots
    WHERE security_id NOT IN (SELECT security_id FROM touched) GROUP BY ALL
)
SELECT account_id, security_id, ledger.quantity AS ledger_quantity, lots.quantity AS lots_quantity
FROM ledger FULL JOIN lots USING (account_id, security_id)
WHERE coalesce(ledger.quantity, 0) <> coalesce(lots.quantity, 0);
