-- What was held back, by which gate, and why?
SELECT session_on, account_id, side, security_id, quantity, note FROM mart.orders WHERE status = 'refused';
