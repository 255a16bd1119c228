-- Sales in taxable accounts as each account's broker will report them: its own account and CUSIP only (Treas. Reg. 1.6045-1(d)(6)).
-- Grain: trade_id, lot_id, slice
-- trade_id         the sale
-- lot_id           the purchase that the broker relieved
-- slice            1, 2, ... within the sale
-- account_id       account
-- security_id      security
-- quantity         shares; 0 for a gain without a sale
-- acquired_on      box 1b of the 1099-B
-- holding_since    the day that the holding period does not count
-- sold_on          box 1c
-- proceeds_usd     box 1d, net of fees, USD
-- basis_usd        box 1e, with what the broker's own wash sales added, USD
-- adjustment_code  W where box 1g is filled
-- adjustment_usd   box 1g: disallowed loss, USD, positive
-- permanent_usd    always 0: a broker knows of no loss that is lost for good, USD
-- gain_usd         proceeds less basis, with box 1g added back, USD, signed
-- term             box 2: short or long
-- is_provisional   a loss that a purchase may still wash
CREATE OR REPLACE TABLE core.broker_disposals (
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
