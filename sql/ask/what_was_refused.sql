-- What was left out of the newest decision, or held back by a gate, and why?
SELECT session_on, account_id, side, security_id, quantity, note FROM mart.orders WHERE status = 'refused'
UNION ALL
SELECT NULL, account_id, side, security_id, quantity, method || ' left out: ' || refusal FROM core.proposed_trades WHERE refusal <> '';
