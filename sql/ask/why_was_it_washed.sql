-- Which losses were disallowed, by which purchase in whose account, under which law?
SELECT sold_on, security_id, account_id, quantity, disallowed_usd, permanent_usd, replacement_account_id, replaced_on, days, citation
FROM mart.wash_sales ORDER BY sold_on DESC;
