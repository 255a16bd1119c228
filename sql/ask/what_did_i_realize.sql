-- What did I realise, by year and term, after wash sales?
SELECT year, term, sum(gain_usd) AS gain_usd, sum(disallowed_usd) AS disallowed_usd FROM mart.realized_gains GROUP BY ALL ORDER BY ALL;
