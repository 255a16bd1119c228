-- Securities that nobody in the household may buy yet without washing a loss, and until when.
-- Grain: security_id, trade_id
-- security_id  security
-- until_on     the last day on which a purchase would wash the loss
-- trade_id     the sale at a loss
-- account_id   its account
-- sold_on      its day
-- quantity     shares whose loss would be washed
-- loss_usd     loss at stake, USD, positive
CREATE OR REPLACE VIEW mart.cannot_buy_today AS
SELECT d.security_id, (d.sold_on + w.value::INTEGER)::DATE AS until_on, d.trade_id, d.account_id, d.sold_on,
    sum(d.quantity - coalesce(r.quantity, 0))::DECIMAL(28, 9) AS quantity,
    sum(-d.gain_usd)::DECIMAL(28, 6) AS loss_usd
FROM core.disposals AS d
CROSS JOIN (SELECT value FROM law.wash_sale_window_days ORDER BY effective_from DESC LIMIT 1) AS w
LEFT JOIN (
    SELECT trade_id, sold_lot_id, sum(quantity) AS quantity FROM core.wash_sales GROUP BY ALL
) AS r ON r.trade_id = d.trade_id AND r.sold_lot_id = d.lot_id
WHERE d.gain_usd < 0 AND d.sold_on + w.value::INTEGER >= (SELECT as_of FROM mart.today)
GROUP BY d.security_id, w.value, d.trade_id, d.account_id, d.sold_on
ORDER BY until_on, d.security_id;
