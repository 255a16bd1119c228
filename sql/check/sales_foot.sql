-- The rows of every sale add up to its shares and, to the cent, to its proceeds.
SELECT t.transaction_id, t.quantity, sum(d.quantity) AS disposed, sum(d.proceeds_usd) AS proceeds_usd
FROM core.disposals AS d
JOIN stg.transactions AS t ON t.transaction_id = d.trade_id
GROUP BY t.transaction_id, t.quantity, t.price_usd, t.fee_usd
HAVING t.quantity <> sum(d.quantity)
    OR sum(d.proceeds_usd) <> round(t.quantity::DECIMAL(19, 9) * t.price_usd::DECIMAL(19, 9) - t.fee_usd, 2);
