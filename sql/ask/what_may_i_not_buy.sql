-- What must nobody in the household buy now, in which account, until when, and because of which sale?
SELECT account_id, security_id, quantity, until_on, loss_usd, is_for_good, reason FROM mart.cannot_buy_today;
