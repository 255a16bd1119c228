-- Sales in which the broker relieved other lots than we meant, and what that costs. The books follow the broker.
-- Grain: trade_id
-- trade_id               the sale
-- account_id             account
-- security_id            security
-- sold_on                its day
-- quantity               shares
-- method                 how the lots were meant
-- intended_lots          lots meant, LOT:QTY;LOT:QTY
-- relieved_lots          lots relieved, LOT:QTY;LOT:QTY
-- is_possible            false where the lots meant were not there any more
-- basis_difference_usd   basis relieved less basis meant, USD, signed
-- short_difference_usd   short-term gain relieved less the one meant, USD, signed
-- long_difference_usd    long-term, USD, signed
-- tax_usd                what it costs at the household's marginal rates, USD; negative: it saves
CREATE OR REPLACE VIEW mart.lot_divergence AS
SELECT trade_id, account_id, security_id, sold_on, quantity, method, intended_lots, relieved_lots, is_possible,
    (relieved_basis_usd - intended_basis_usd)::DECIMAL(28, 6) AS basis_difference_usd,
    (relieved_short_gain_usd - intended_short_gain_usd)::DECIMAL(28, 6) AS short_difference_usd,
    (relieved_long_gain_usd - intended_long_gain_usd)::DECIMAL(28, 6) AS long_difference_usd,
    tax_usd
FROM core.intended_sales
WHERE intended_lots <> relieved_lots
ORDER BY sold_on DESC, trade_id;
