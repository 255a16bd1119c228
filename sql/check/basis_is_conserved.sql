-- What was paid is in open lots or was given back as basis; what was disallowed and not lost for good is in some lot. Covers taxable securities that were bought, reinvested, transferred and sold, and nothing else happened to.
WITH touched AS (
    SELECT DISTINCT unnest([t.security_id, coalesce(t.details ->> 'new_security_id', ''), coalesce(t.details ->> 'underlying_id', '')])
        AS security_id
    FROM stg.transactions AS t
    JOIN core.accounts AS a USING (account_id)
    LEFT JOIN core.accounts AS b ON b.account_id = t.details ->> 'to_account_id'
    WHERE t.traded_on <= $as_of AND t.kind NOT IN ('trade', 'dividend_reinvested', 'dividend', 'interest', 'deposit', 'withdrawal', 'fee')
        AND NOT (t.kind = 'transfer' AND a.is_deferred = b.is_deferred)
    UNION ALL
    SELECT o.security_id FROM stg.transactions AS c JOIN stg.transactions AS o ON o.transaction_id = c.details ->> 'corrects'
), paid AS (
    SELECT sum(round(t.quantity::DECIMAL(19, 9) * t.price_usd::DECIMAL(19, 9) + t.fee_usd, 2)) AS usd
    FROM stg.transactions AS t JOIN core.accounts AS a USING (account_id)
    WHERE t.kind IN ('trade', 'dividend_reinvested') AND t.side = 'buy' AND t.traded_on <= $as_of AND NOT a.is_deferred
        AND t.transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
        AND t.security_id NOT IN (SELECT security_id FROM touched)
), held AS (
    SELECT sum(basis_usd) AS usd FROM core.lots WHERE NOT is_deferred AND security_id NOT IN (SELECT security_id FROM touched)
), sold AS (
    SELECT sum(basis_usd) AS usd FROM core.disposals WHERE security_id NOT IN (SELECT security_id FROM touched)
), carried AS (
    SELECT sum(w.disallowed_usd - w.permanent_usd) AS usd
    FROM core.wash_sales AS w JOIN stg.transactions AS t ON t.transaction_id = w.replacement_lot_id
    WHERE t.security_id NOT IN (SELECT security_id FROM touched)
)
SELECT paid.usd AS paid_usd, held.usd AS held_usd, sold.usd AS sold_usd, carried.usd AS carried_usd
FROM paid, held, sold, carried
WHERE coalesce(paid.usd, 0) + coalesce(carried.usd, 0) <> coalesce(held.usd, 0) + coalesce(sold.usd, 0);
