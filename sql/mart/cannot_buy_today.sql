-- What an account may not buy yet without washing a loss of the household, until when, and because of which sale.
-- Written puts and calls count as purchases too and are not listed; nor is what closes a short sale.
-- Grain: account_id, security_id, trade_id
-- account_id        who would buy; every account of the household has its rows
-- security_id       what may not be bought: what was sold, and what is identical to it
-- until_on          the last day on which a purchase would wash the loss; on the next day it may be bought
-- quantity          shares of the sale that no purchase has replaced yet: so many may not be bought
-- loss_usd          loss at stake, USD, positive
-- is_for_good       true: the loss would be gone for good, because the account is an IRA or the like; false: put off
-- trade_id          the sale at a loss
-- sold_account_id   its account
-- sold_security_id  what it sold
-- sold_on           its day
-- tier              identical; same index: only if funds on one index count as identical
-- citation          the law
-- reason            all of it in words
CREATE OR REPLACE VIEW mart.cannot_buy_today AS
WITH law AS (
    SELECT value::INTEGER AS days FROM law.wash_sale_window_days
    WHERE effective_from <= (SELECT as_of FROM mart.today) ORDER BY effective_from DESC LIMIT 1
), sold AS (
    SELECT trade_id, lot_id, account_id, security_id, sold_on, sum(quantity) AS quantity, sum(-gain_usd) AS loss_usd
    FROM core.disposals WHERE proceeds_usd < basis_usd GROUP BY ALL
), replaced AS (
    SELECT trade_id, sold_lot_id AS lot_id, sum(quantity) AS quantity FROM core.wash_sales GROUP BY ALL
), waiting AS (
    SELECT s.trade_id, s.account_id, s.security_id, s.sold_on,
        sum(s.quantity - coalesce(r.quantity, 0))::DECIMAL(28, 9) AS quantity, sum(s.loss_usd)::DECIMAL(28, 6) AS loss_usd
    FROM sold AS s LEFT JOIN replaced AS r USING (trade_id, lot_id)
    GROUP BY ALL
    HAVING sum(s.loss_usd) > 0
), alike AS (
    SELECT security_id, other_id, min(tier) AS tier FROM (
        SELECT DISTINCT security_id, security_id AS other_id, 'identical' AS tier FROM waiting
        UNION ALL
        SELECT a.security_id, b.security_id, a.tier FROM core.identical AS a JOIN core.identical AS b USING (group_id, tier)
    ) GROUP BY ALL
)
SELECT a.account_id, e.other_id AS security_id, (w.sold_on + law.days)::DATE AS until_on, w.quantity, w.loss_usd,
    a.is_deferred AS is_for_good, w.trade_id, w.account_id AS sold_account_id, w.security_id AS sold_security_id, w.sold_on,
    e.tier,
    CASE WHEN a.is_deferred THEN '26 USC 1091(a); Rev. Rul. 2008-5' ELSE '26 USC 1091(a), (d); Treas. Reg. 1.1091-1, 1.1091-2' END
        AS citation,
    w.account_id || ' sold ' || w.security_id || ' on ' || w.sold_on || ' (' || w.trade_id || '): $' || round(w.loss_usd, 2)::DECIMAL(18, 2)
        || ' of loss would be ' || CASE WHEN a.is_deferred THEN 'gone for good' ELSE 'put off' END
        || ' by a purchase in ' || a.account_id || ' up to ' || (w.sold_on + law.days)::DATE
        || CASE WHEN e.tier = 'same index' THEN ', if funds on one index count as identical' ELSE '' END AS reason
FROM waiting AS w
CROSS JOIN law
JOIN alike AS e ON e.security_id = w.security_id
CROSS JOIN core.accounts AS a
WHERE w.sold_on + law.days >= (SELECT as_of FROM mart.today)
ORDER BY until_on, e.other_id, w.trade_id, a.account_id;
