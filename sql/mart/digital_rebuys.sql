-- Digital assets sold at a loss and bought within the wash-sale window: no wash sale while the law does not reach them, kept so that a change can be judged.
-- Grain: trade_id, rebuy_id
-- trade_id       the sale at a loss
-- account_id     its account
-- security_id    the asset
-- sold_on        its day
-- loss_usd       USD, positive
-- rebuy_id       the purchase
-- rebuy_account  its account
-- rebought_on    its day
-- days           from the sale to the purchase; negative is before
-- quantity       units that would replace the loss, at most
-- at_stake_usd   loss that would be disallowed if the rule reached them, at most, USD
-- is_washed      true where the law of the sale's day reaches them already
CREATE OR REPLACE VIEW mart.digital_rebuys AS
WITH lost AS (
    SELECT d.trade_id, d.account_id, d.security_id, d.sold_on, sum(d.quantity) AS quantity,
        sum(d.basis_usd - d.proceeds_usd) AS loss_usd, sum(d.adjustment_usd) > 0 AS is_washed, list(d.lot_id) AS lots
    FROM core.disposals AS d
    JOIN stg.securities AS s ON s.security_id = d.security_id AND s.kind = 'digital_asset'
    WHERE d.basis_usd > d.proceeds_usd
    GROUP BY ALL
)
SELECT l.trade_id, l.account_id, l.security_id, l.sold_on, l.loss_usd::DECIMAL(28, 6) AS loss_usd,
    t.transaction_id AS rebuy_id, t.account_id AS rebuy_account, t.traded_on AS rebought_on,
    (t.traded_on - l.sold_on)::INTEGER AS days, least(t.quantity, l.quantity)::DECIMAL(28, 9) AS quantity,
    round(l.loss_usd::DOUBLE * least(t.quantity, l.quantity)::DOUBLE / l.quantity::DOUBLE, 2)::DECIMAL(28, 6) AS at_stake_usd,
    l.is_washed
FROM lost AS l
JOIN stg.transactions AS t ON t.security_id = l.security_id AND t.side = 'buy' AND t.kind IN ('trade', 'dividend_reinvested', 'award')
CROSS JOIN (SELECT value FROM law.wash_sale_window_days ORDER BY effective_from DESC LIMIT 1) AS w
WHERE abs(t.traded_on - l.sold_on) <= w.value::INTEGER AND NOT list_contains(l.lots, t.transaction_id)
    AND t.traded_on <= (SELECT max(booked_to) FROM core.accounts)
ORDER BY l.sold_on, l.trade_id, t.traded_on;
