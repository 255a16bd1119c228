-- Sales for which lots were identified, or still can be: how, until when, and whether the books follow.
-- Grain: trade_id
-- trade_id       the sale
-- account_id     account
-- security_id    security
-- sold_on        its day
-- quantity       shares
-- lots           lots identified, LOT:QTY;LOT:QTY; empty: none yet
-- how            order, after trade, own books; empty: not identified yet
-- identified_at  when, New York; empty where only its order or the broker's own row says so
-- deadline_at    until when, New York; empty where the lots went with the order
-- is_in_time     true where it was in time
-- is_followed    true where the books take these lots
-- note           what is wrong or to be done; empty where nothing is
CREATE OR REPLACE TABLE core.identifications (
    trade_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    sold_on DATE NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    lots VARCHAR NOT NULL,
    how VARCHAR NOT NULL,
    identified_at TIMESTAMP,
    deadline_at TIMESTAMP,
    is_in_time BOOLEAN NOT NULL,
    is_followed BOOLEAN NOT NULL,
    note VARCHAR NOT NULL
);
