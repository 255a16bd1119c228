-- No purchase replaces more shares than it brought. Covers replacements that were bought, awarded or reinvested and whose security no company action has touched.
SELECT w.replacement_lot_id, sum(w.replacement_quantity) AS replaced, any_value(t.quantity) AS bought
FROM core.wash_sales AS w JOIN stg.transactions AS t ON t.transaction_id = w.replacement_lot_id
WHERE t.kind IN ('trade', 'dividend_reinvested', 'award', 'option_open', 'short_open')
    AND t.transaction_id NOT IN (SELECT coalesce(details ->> 'corrects', '') FROM stg.transactions WHERE kind = 'correction')
    AND t.security_id NOT IN (
        SELECT unnest([security_id, coalesce(details ->> 'new_security_id', '')]) FROM stg.transactions
        WHERE kind IN ('split', 'symbol_change', 'spin_off', 'merger') AND traded_on <= $as_of
    )
GROUP BY w.replacement_lot_id HAVING sum(w.replacement_quantity) > any_value(t.quantity);
