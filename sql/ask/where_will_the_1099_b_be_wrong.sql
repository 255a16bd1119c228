-- Where will a 1099-B say something else than the household's own books, and what does Form 8949 say then?
SELECT sold_on, account_id, security_id, adjustment_code, adjustment_usd, gain_usd, note FROM mart.broker_differs ORDER BY sold_on DESC;
