-- How sure is each harvest, how much of it would be washed, and which accounts that are not linked could wash it unseen?
SELECT account_id, security_id, loss_usd, disallowed_usd, permanent_usd, confidence, unlinked FROM mart.harvest_candidates WHERE NOT is_refused;
