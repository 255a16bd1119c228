-- The newest price of every security up to the last run's day.
-- Grain: security_id
-- security_id  security
-- session_on   the session it is of
-- price_usd    USD a share
-- is_adjusted  true where dividends are inside the price already
CREATE OR REPLACE VIEW mart.latest_prices AS
SELECT p.security_id, max(p.session_on) AS session_on, arg_max(p.price_usd, p.session_on) AS price_usd,
    bool_or(p.is_adjusted) AS is_adjusted
FROM stg.prices AS p
WHERE p.session_on <= (SELECT as_of FROM mart.today)
    AND p.session_on > (SELECT as_of FROM mart.today) - INTERVAL 30 DAY
GROUP BY p.security_id;
