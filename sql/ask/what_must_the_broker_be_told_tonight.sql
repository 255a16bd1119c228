-- Which lots must a broker still be told, until when, and what does telling it save?
SELECT deadline_at, account_id, security_id, quantity, lots, otherwise, tax_usd FROM mart.identifications_due;
