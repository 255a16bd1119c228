-- Sales in taxable accounts by lot, in the words of Form 8949.
-- Grain: trade_id, lot_id, slice
-- trade_id         the sale
-- lot_id           the purchase it came from
-- slice            1, 2, ... within the sale
-- account_id       account
-- security_id      security
-- quantity         shares; 0 for a gain without a sale (a return of capital above the basis, cash in a merger)
-- acquired_on      column (b)
-- holding_since    the day that the holding period does not count
-- sold_on          column (c)
-- proceeds_usd     column (d), net of fees, USD
-- basis_usd        column (e), with earlier disallowed losses, USD
-- adjustment_code  column (f): W for a wash sale
-- adjustment_usd   column (g): disallowed loss, USD, positive
-- permanent_usd    the part of it that no basis will give back, USD
-- gain_usd         column (h), USD, signed
-- term             short or long
-- is_provisional   a loss that a purchase may still wash
CREATE OR REPLACE TABLE core.disposals (
    trade_id VARCHAR NOT NULL,
    lot_id VARCHAR NOT NULL,
    slice BIGINT NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    acquired_on DATE NOT NULL,
    holding_since DATE NOT NULL,
    sold_on DATE NOT NULL,
    proceeds_usd DECIMAL(28, 6) NOT NULL,
    basis_usd DECIMAL(28, 6) NOT NULL,
    adjustment_code VARCHAR NOT NULL,
    adjustment_usd DECIMAL(28, 6) NOT NULL,
    permanent_usd DECIMAL(28, 6) NOT NULL,
    gain_usd DECIMAL(28, 6) NOT NULL,
    term VARCHAR NOT NULL,
    is_provisional BOOLEAN NOT NULL
);
