-- Sales whose lots the broker can still be told, the first deadline first: what is to be told tonight.
-- Grain: trade_id
-- trade_id       the sale
-- account_id     account
-- security_id    security
-- sold_on        its day
-- quantity       shares
-- deadline_at    until when the broker takes them, New York
-- lots           what to tell it, LOT:QTY;LOT:QTY
-- otherwise      what it relieves when it is told nothing, LOT:QTY;LOT:QTY
-- tax_usd        tax that telling it saves, at the household's marginal rates, USD
CREATE OR REPLACE VIEW mart.identifications_due AS
SELECT i.trade_id, i.account_id, i.security_id, i.sold_on, i.quantity, i.deadline_at, s.intended_lots AS lots,
    s.relieved_lots AS otherwise, s.tax_usd
FROM core.identifications AS i
JOIN core.intended_sales AS s USING (trade_id)
WHERE i.how = '' AND i.deadline_at::DATE >= (SELECT max(booked_to) FROM core.accounts) AND s.intended_lots <> s.relieved_lots
    AND i.trade_id NOT IN (  -- told since the books were made
        SELECT e.transaction_id FROM ledger.order_events AS e JOIN ledger.lot_identifications USING (client_order_id)
        WHERE e.event = 'fill'
    )
ORDER BY i.deadline_at, i.trade_id;
