-- What a taxable account may not sell at a loss yet without the loss being washed, until when, and because of which purchase.
-- Purchases of the last days in any account count, as far as they are still held (in an IRA or the like: in full) and replace
-- no other loss already, and those that are known to come. Options and written puts are not listed.
-- Grain: account_id, security_id, purchase_id
-- account_id           who would sell
-- security_id          what it would sell at a loss
-- until_on             the last day on which a sale at a loss would be washed; on the next day it is clean of this purchase
-- quantity             shares whose loss would be washed, of those in other lots than the purchase itself, USD aside
-- loss_usd             unrealised loss today of the lots concerned, at the latest prices, USD, positive; 0 where none is below its basis
-- is_for_good          true: the loss would be gone for good, because the purchase is in an IRA or the like; false: put off
-- is_made              true: the purchase is in the ledger; false: it is known to come
-- purchase_id          the purchase, or the plan or order that will make it
-- purchase_account_id  its account
-- bought_id            the security that it bought
-- bought_on            its day
-- tier                 identical; same index: only if funds on one index count as identical
-- citation             the law
-- reason               all of it in words
CREATE OR REPLACE VIEW mart.cannot_sell_at_a_loss_today AS
WITH law AS (
    SELECT value::INTEGER AS days FROM law.wash_sale_window_days
    WHERE effective_from <= (SELECT as_of FROM mart.today) ORDER BY effective_from DESC LIMIT 1
), used AS (
    SELECT replacement_lot_id, sum(replacement_quantity) AS quantity FROM core.wash_sales GROUP BY ALL
), bought AS (  -- a part with an older holding period has replaced a loss already
    SELECT lot_id AS purchase_id, account_id, security_id, acquired_on AS bought_on, sum(quantity) AS quantity,
        false AS is_for_good, true AS is_made
    FROM core.lots WHERE NOT is_deferred AND quantity > 0 AND holding_since = acquired_on GROUP BY ALL
    UNION ALL
    SELECT t.transaction_id, t.account_id, t.security_id, t.traded_on, t.quantity - coalesce(u.quantity, 0), true, true
    FROM stg.transactions AS t
    JOIN core.accounts AS a ON a.account_id = t.account_id AND a.is_deferred AND t.traded_on <= a.booked_to
    LEFT JOIN used AS u ON u.replacement_lot_id = t.transaction_id
    WHERE (t.side = 'buy' AND t.kind = 'trade' OR t.kind IN ('dividend_reinvested', 'award')) AND t.transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
    UNION ALL
    SELECT trade_id, account_id, security_id, expected_on, quantity, is_deferred, false FROM core.coming
), held AS (
    SELECT account_id, security_id, lot_id, sum(quantity) AS quantity, sum(greatest(-gain_usd, 0)) AS loss_usd
    FROM mart.lot_ladder WHERE NOT is_deferred AND quantity > 0 GROUP BY ALL
), alike AS (
    SELECT security_id, other_id, min(tier) AS tier FROM (
        SELECT DISTINCT security_id, security_id AS other_id, 'identical' AS tier FROM held
        UNION ALL
        SELECT a.security_id, b.security_id, a.tier FROM core.identical AS a JOIN core.identical AS b USING (group_id, tier)
    ) GROUP BY ALL
), exposed AS (
    SELECT h.account_id, h.security_id, b.purchase_id, b.account_id AS purchase_account_id, b.security_id AS bought_id,
        b.bought_on, b.is_for_good, b.is_made, e.tier, least(any_value(b.quantity), sum(h.quantity))::DECIMAL(28, 9) AS quantity,
        coalesce(sum(h.loss_usd), 0)::DECIMAL(28, 6) AS loss_usd
    FROM bought AS b
    JOIN alike AS e ON e.other_id = b.security_id
    JOIN held AS h ON h.security_id = e.security_id AND h.lot_id <> b.purchase_id
    WHERE b.quantity > 0
    GROUP BY ALL
)
SELECT x.account_id, x.security_id, (x.bought_on + law.days)::DATE AS until_on, x.quantity, x.loss_usd, x.is_for_good, x.is_made,
    x.purchase_id, x.purchase_account_id, x.bought_id, x.bought_on, x.tier,
    CASE WHEN x.is_for_good THEN '26 USC 1091(a); Rev. Rul. 2008-5' ELSE '26 USC 1091(a), (d); Treas. Reg. 1.1091-1, 1.1091-2' END
        AS citation,
    x.purchase_account_id || CASE WHEN x.is_made THEN ' bought ' ELSE ' is to buy ' END || x.bought_id || ' on ' || x.bought_on
        || ' (' || x.purchase_id || '): the loss of ' || rtrim(rtrim(x.quantity::VARCHAR, '0'), '.') || ' shares would be '
        || CASE WHEN x.is_for_good THEN 'gone for good' ELSE 'put off' END || ' if sold up to ' || (x.bought_on + law.days)::DATE
        || CASE WHEN x.tier = 'same index' THEN ', if funds on one index count as identical' ELSE '' END AS reason
FROM exposed AS x
CROSS JOIN law
WHERE x.bought_on + law.days >= (SELECT as_of FROM mart.today)
ORDER BY x.account_id, x.security_id, until_on, x.purchase_id;
