-- What could I harvest today, what would it save, and what would I hold instead?
SELECT account_id, security_id, loss_usd, tax_saved_usd, replacement_id, reason FROM mart.harvest_candidates WHERE NOT is_refused;
