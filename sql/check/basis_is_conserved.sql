-- What was paid is in open lots or was given back as basis; what was disallowed and not lost for good is in some lot.
WITH paid AS (
    SELECT sum(round(quantity::DECIMAL(19, 9) * price_usd::DECIMAL(19, 9) + fee_usd, 2)) AS usd
    FROM stg.transactions AS t
    WHERE kind = 'trade' AND side = 'buy' AND traded_on <= $as_of
        AND transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
        AND account_id IN (SELECT account_id FROM core.accounts WHERE NOT is_deferred)
), held AS (SELECT sum(basis_usd) AS usd FROM core.lots WHERE NOT is_deferred),
sold AS (SELECT sum(basis_usd) AS usd, sum(adjustment_usd - permanent_usd) AS carried FROM core.disposals)
SELECT paid.usd AS paid_usd, held.usd AS held_usd, sold.usd AS sold_usd, sold.carried AS carried_usd
FROM paid, held, sold
WHERE coalesce(paid.usd, 0) + coalesce(sold.carried, 0) <> coalesce(held.usd, 0) + coalesce(sold.usd, 0);
