-- What must nobody in the household buy now, until when, and because of which sale?
SELECT * FROM mart.cannot_buy_today;
