-- Open lots as each account's broker keeps them: its own purchases and its own wash sales only (Treas. Reg. 1.6045-1(d)(6)).
-- Grain: account_id, security_id, lot_id, slice
-- lot_id          the transaction that brought it
-- slice           1, 2, ...: parts of one lot with a basis and holding period of their own
-- account_id      account
-- security_id     security
-- quantity        shares; negative where they are owed (a short sale, a written option)
-- acquired_on     the actual day of purchase
-- holding_since   the day that the holding period does not count
-- long_term_from  the first day on which a sale is long-term
-- basis_usd       cost and the disallowed losses that the broker carries in, USD; of what is owed its proceeds, negative
-- is_deferred     true in an IRA or another account whose basis does not matter for tax
CREATE OR REPLACE TABLE core.broker_lots (
    lot_id VARCHAR NOT NULL,
    slice BIGINT NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    acquired_on DATE NOT NULL,
    holding_since DATE NOT NULL,
    long_term_from DATE NOT NULL,
    basis_usd DECIMAL(28, 6) NOT NULL,
    is_deferred BOOLEAN NOT NULL
);
