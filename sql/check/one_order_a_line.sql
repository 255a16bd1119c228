-- No line of a decision was filled beyond what was decided.
SELECT i.batch_id, i.line, sum(e.quantity) AS filled FROM ledger.order_events AS e JOIN ledger.intents AS i USING (client_order_id)
JOIN ledger.batch_lines AS l USING (batch_id, line)
WHERE e.event = 'fill' AND (l.side = 'sell' OR i.notional_usd IS NULL) GROUP BY ALL HAVING sum(e.quantity) > any_value(l.quantity);
