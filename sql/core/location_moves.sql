-- Moves between accounts that would lower the household's yearly tax: those that are proposed, and those that are left and why.
-- Grain: move, account_id
-- move               1, 2, ...: accounts that hand classes on in a circle, mostly two that swap; proposed ones first
-- account_id         an account of it
-- sold_class         what it gives
-- bought_class       what it takes instead
-- trades             its orders, in words
-- after_tax_usd      what changes places, USD after the tax that is due when it is taken out; the same in every account of the move
-- saving_usd         what the whole move saves of tax, USD a year
-- tax_usd            what the whole move costs of tax now, USD
-- trading_usd        what the whole move costs of spread, USD
-- break_even_years   until what it saves has paid for both
-- is_proposed        true: it is proposed today; false: left, see reason
-- reason             in words and numbers
CREATE OR REPLACE TABLE core.location_moves (
    move BIGINT NOT NULL,
    account_id VARCHAR NOT NULL,
    sold_class VARCHAR NOT NULL,
    bought_class VARCHAR NOT NULL,
    trades VARCHAR NOT NULL,
    after_tax_usd DECIMAL(28, 6) NOT NULL,
    saving_usd DECIMAL(28, 6) NOT NULL,
    tax_usd DECIMAL(28, 6) NOT NULL,
    trading_usd DECIMAL(28, 6) NOT NULL,
    break_even_years DOUBLE NOT NULL,
    is_proposed BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL
);
