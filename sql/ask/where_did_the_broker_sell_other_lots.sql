-- Where did a broker relieve other lots than were meant, and what does that cost?
SELECT sold_on, account_id, security_id, quantity, intended_lots, relieved_lots, tax_usd FROM mart.lot_divergence;
