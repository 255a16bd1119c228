-- Sales of which the broker's 1099-B will say something else than the household's own books, and what Form 8949 says then.
-- Grain: trade_id, slice
-- year                   tax year
-- trade_id               the sale
-- slice                  piece of it
-- account_id             account
-- security_id            security
-- sold_on                its day
-- quantity               shares
-- broker_basis_usd       box 1e, USD
-- right_basis_usd        the basis by the household's own books, USD
-- broker_disallowed_usd  box 1g, USD, positive
-- disallowed_usd         the loss disallowed by the household's own books, USD, positive
-- broker_term            box 2: short or long
-- term                   short or long
-- adjustment_code        column (f) of Form 8949
-- adjustment_usd         column (g), USD, signed
-- gain_usd               column (h), USD, signed
-- note                   why, in a sentence
CREATE OR REPLACE VIEW mart.broker_differs AS
SELECT year(sold_on) AS year, trade_id, slice, account_id, security_id, sold_on, quantity, broker_basis_usd, right_basis_usd,
    broker_disallowed_usd, disallowed_usd, broker_term, term, adjustment_code, adjustment_usd, gain_usd, note
FROM core.reported_sales
WHERE note <> ''
ORDER BY sold_on, trade_id, slice;
