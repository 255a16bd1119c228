-- What must an account not sell at a loss now, how many shares, until when, and because of which purchase, made or known to come?
SELECT account_id, security_id, quantity, until_on, loss_usd, is_for_good, is_made, reason FROM mart.cannot_sell_at_a_loss_today;
