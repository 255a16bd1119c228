-- Every line of every decision and what became of it.
-- Grain: batch_id, line
-- session_on   the session in which it may be executed
-- account_id   account
-- batch_id     the decision
-- line         its line
-- side         buy or sell
-- security_id  security
-- quantity     shares
-- price_usd    close that it was decided on, USD a share
-- lots         lots that the broker is told, with the order or after it, LOT:QTY;LOT:QTY; empty: it takes none
-- status       filled, accepted, rejected, refused, dry run or waiting
-- note         the fill, or the refusals
-- reason       why it was decided
CREATE OR REPLACE VIEW mart.orders AS
SELECT b.session_on, b.account_id, l.batch_id, l.line, l.side, l.security_id, l.quantity, l.price_usd, l.lots,
    CASE
        WHEN e.events LIKE '%filled%' THEN 'filled'
        WHEN e.events LIKE '%rejected%' THEN 'rejected'
        WHEN r.reasons IS NOT NULL THEN 'refused'
        WHEN e.events LIKE '%accepted%' THEN 'accepted'
        WHEN b.mode = 'dry_run' THEN 'dry run'
        ELSE 'waiting'
    END AS status,
    coalesce(e.note, r.reasons, '') AS note,
    l.reason
FROM ledger.batch_lines AS l
JOIN ledger.batches AS b USING (batch_id)
LEFT JOIN (
    SELECT batch_id, line, string_agg(gate || ': ' || reason, '; ' ORDER BY gate) AS reasons
    FROM ledger.refusals GROUP BY ALL
) AS r USING (batch_id, line)
LEFT JOIN (
    SELECT i.batch_id, i.line, string_agg(e.event, ' ') AS events, arg_max(e.note, e.known_at) AS note
    FROM ledger.intents AS i JOIN ledger.order_events AS e USING (client_order_id) GROUP BY ALL
) AS e USING (batch_id, line)
ORDER BY b.session_on, b.account_id, l.line;
