-- Which purchase replaced which loss, and why.
-- Grain: trade_id, sold_lot_id, replacement_lot_id
-- trade_id              the sale at a loss
-- sold_lot_id           the lot sold
-- replacement_lot_id    the purchase that replaced it
-- quantity              shares sold whose loss was disallowed
-- disallowed_usd        disallowed loss, USD, positive
-- permanent_usd         the part lost for good, USD
-- days                  from the sale to the purchase; negative is before
-- citation              the law
-- rule                  purchase, deferred, option, written put or short sale
-- replacement_quantity  shares of the replacement: another number across a split, contracts of an option
CREATE OR REPLACE TABLE core.wash_sales (
    trade_id VARCHAR NOT NULL,
    sold_lot_id VARCHAR NOT NULL,
    replacement_lot_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    disallowed_usd DECIMAL(28, 6) NOT NULL,
    permanent_usd DECIMAL(28, 6) NOT NULL,
    days BIGINT NOT NULL,
    citation VARCHAR NOT NULL,
    rule VARCHAR NOT NULL,
    replacement_quantity DECIMAL(28, 9) NOT NULL
);
