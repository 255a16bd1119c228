-- Every wash sale with its two trades, the days between, and the law.
-- Grain: trade_id, sold_lot_id, replacement_lot_id
-- trade_id                the sale at a loss
-- sold_lot_id             the lot sold
-- sold_on                 its day
-- account_id              its account
-- security_id             what was sold
-- quantity                shares replaced
-- disallowed_usd          USD, positive
-- permanent_usd           the part lost for good, USD
-- replacement_lot_id      the purchase that replaced it
-- replacement_account_id  its account
-- replaced_on             its day
-- days                    from the sale to the purchase; negative is before
-- citation                the law
CREATE OR REPLACE VIEW mart.wash_sales AS
SELECT DISTINCT w.trade_id, w.sold_lot_id, d.sold_on, d.account_id, d.security_id, w.quantity, w.disallowed_usd, w.permanent_usd,
    w.replacement_lot_id, b.account_id AS replacement_account_id, b.traded_on AS replaced_on, w.days, w.citation
FROM core.wash_sales AS w
JOIN core.disposals AS d ON d.trade_id = w.trade_id AND d.lot_id = w.sold_lot_id
JOIN stg.transactions AS b ON b.transaction_id = w.replacement_lot_id
ORDER BY d.sold_on, w.trade_id;
