-- No purchase replaces more shares than it bought.
SELECT w.replacement_lot_id, sum(w.quantity) AS replaced, any_value(t.quantity) AS bought
FROM core.wash_sales AS w JOIN stg.transactions AS t ON t.transaction_id = w.replacement_lot_id
GROUP BY w.replacement_lot_id HAVING sum(w.quantity) > any_value(t.quantity);
