-- No line of a decision was filled twice.
SELECT i.batch_id, i.line, count(*) AS fills FROM ledger.order_events AS e JOIN ledger.intents AS i USING (client_order_id)
WHERE e.event = 'filled' GROUP BY ALL HAVING count(*) > 1;
