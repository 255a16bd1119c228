-- Which lots turn long-term in the next 60 days?
SELECT account_id, security_id, lot_id, long_term_from, gain_usd FROM mart.lot_ladder
WHERE NOT is_deferred AND term_today = 'short' AND long_term_from <= (SELECT as_of FROM mart.today) + INTERVAL 60 DAY
ORDER BY long_term_from;
