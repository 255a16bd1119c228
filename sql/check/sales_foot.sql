-- The rows of every sale for money add up to its shares and, to the cent, to its proceeds. Covers sales of shares that are held (trades and cash in lieu) and were not corrected.
SELECT t.transaction_id, t.quantity, sum(d.quantity) AS disposed, sum(d.proceeds_usd) AS proceeds_usd
FROM core.disposals AS d
JOIN stg.transactions AS t ON t.transaction_id = d.trade_id
WHERE t.kind IN ('trade', 'cash_in_lieu')
    AND t.transaction_id NOT IN (SELECT coalesce(details ->> 'corrects', '') FROM stg.transactions WHERE kind = 'correction')
GROUP BY t.transaction_id, t.quantity, t.price_usd, t.fee_usd
HAVING t.quantity <> sum(d.quantity)
    OR sum(d.proceeds_usd) <> round(t.quantity::DECIMAL(19, 9) * t.price_usd::DECIMAL(19, 9) - t.fee_usd, 2);
