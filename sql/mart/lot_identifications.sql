-- The record of every sale: which lots it took, how they were identified, when, and what confirms it.
-- Grain: trade_id
-- trade_id        the sale, as the broker numbers it
-- account_id      account
-- security_id     security
-- sold_on         its day
-- quantity        shares
-- lots            lots that the books take for it, LOT:QTY;LOT:QTY
-- how             order: the lots went with it; after trade: the broker was told; own books; else the broker's own method by itself
-- identified_at   when, UTC; empty where the broker was told nothing
-- deadline_at     until when it could be identified, New York; empty where the lots went with the order
-- confirmed_by    what confirms it
-- order_id        the order, where it was ours
-- batch_id        the decision behind it
-- citation        what asks for the record
CREATE OR REPLACE VIEW mart.lot_identifications AS
WITH taken AS (
    SELECT trade_id, account_id, security_id, sold_on, sum(quantity)::DECIMAL(28, 9) AS quantity,
        string_agg(lot_id || ':' || rtrim(rtrim(shares::VARCHAR, '0'), '.'), ';' ORDER BY first_slice) AS lots
    FROM (
        SELECT trade_id, account_id, security_id, sold_on, lot_id, min(slice) AS first_slice, sum(quantity)::DECIMAL(28, 9) AS shares,
            sum(quantity) AS quantity
        FROM core.disposals GROUP BY ALL
    ) GROUP BY ALL
), ours AS (
    SELECT e.transaction_id AS trade_id, i.client_order_id, i.batch_id, t.identified_at, t.confirmed_by, t.how
    FROM ledger.order_events AS e
    JOIN ledger.intents AS i USING (client_order_id)
    LEFT JOIN ledger.lot_identifications AS t USING (client_order_id)
    WHERE e.event = 'fill'
)
SELECT d.trade_id, d.account_id, d.security_id, d.sold_on, d.quantity, d.lots,
    CASE
        WHEN i.is_followed THEN i.how
        WHEN a.relief = 'average' THEN 'average, by the broker itself'
        ELSE 'first in, first out or its standing order, by the broker itself'
    END AS how,
    CASE WHEN i.is_followed THEN coalesce(o.identified_at, timezone('UTC', timezone('America/New_York', i.identified_at))) END AS identified_at,
    CASE WHEN i.is_followed THEN i.deadline_at END AS deadline_at,
    CASE
        WHEN NOT coalesce(i.is_followed, false) THEN 'nothing was told; the broker''s confirmation of the trade'
        ELSE coalesce(o.confirmed_by, CASE WHEN i.how = 'own books' THEN 'the decision stored before the sale' ELSE 'the broker''s own row' END)
    END AS confirmed_by,
    coalesce(o.client_order_id, '') AS order_id,
    coalesce(o.batch_id, '') AS batch_id,
    'Treas. Reg. 1.1012-1(c)(2)-(3), (c)(8)' AS citation
FROM taken AS d
JOIN core.accounts AS a USING (account_id)
LEFT JOIN core.identifications AS i USING (trade_id)
LEFT JOIN ours AS o USING (trade_id)
ORDER BY d.sold_on, d.trade_id;
