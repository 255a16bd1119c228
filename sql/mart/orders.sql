-- Every line of every decision and what became of it.
-- Grain: batch_id, line
-- session_on    the session in which it may be executed
-- account_id    account
-- batch_id      the decision
-- line          its line
-- method        who proposed it: harvest, hand, ...
-- side          buy or sell
-- security_id   security
-- quantity      shares
-- filled        shares filled so far
-- price_usd     close that it was decided on, USD a share
-- limit_usd     the newest order's limit, USD a share; empty: at the market, or none yet
-- attempts      orders sent for it so far
-- lots          lots that the broker is told, with the order or after it, LOT:QTY;LOT:QTY; empty: it takes none
-- status        filled, partly filled, working, unfilled, rejected, refused, declined, replaced, dry run or waiting
-- note          the newest words of the broker, the refusals, or what it waits for
-- reason        why it was decided
CREATE OR REPLACE VIEW mart.orders AS
WITH orders AS (
    SELECT i.batch_id, i.line, count(DISTINCT i.attempt) AS attempts,
        arg_max(i.limit_usd, i.attempt) AS limit_usd,
        coalesce(sum(e.quantity) FILTER (e.event = 'fill'), 0)::DECIMAL(28, 9) AS filled,
        count(DISTINCT i.attempt) > count(e.event) FILTER (e.event IN ('filled', 'canceled', 'expired', 'rejected')) AS is_open,
        count(*) FILTER (e.event = 'filled') > 0 AS is_done,
        count(*) FILTER (e.event = 'rejected') > 0 AS is_rejected,
        count(*) FILTER (e.event = 'accepted') > 0 AS is_taken,
        arg_max(e.note, (e.event NOT IN ('accepted', 'filled'), e.known_at)) FILTER (e.note <> '') AS note
    FROM ledger.intents AS i LEFT JOIN ledger.order_events AS e USING (client_order_id) GROUP BY ALL
), refused AS (
    SELECT batch_id, line, string_agg(gate || ': ' || reason, '; ' ORDER BY gate) AS reasons FROM ledger.refusals GROUP BY ALL
), waiting AS (
    SELECT batch_id, line, string_agg(gate || ': ' || reason, '; ' ORDER BY gate) AS reasons FROM core.waiting GROUP BY ALL
)
SELECT b.session_on, b.account_id, l.batch_id, l.line, l.method, l.side, l.security_id, l.quantity,
    coalesce(o.filled, 0)::DECIMAL(28, 9) AS filled, l.price_usd, o.limit_usd, coalesce(o.attempts, 0) AS attempts, l.lots,
    CASE
        WHEN o.is_done AND NOT o.is_open THEN 'filled'
        WHEN a.verdict = 'refused' AND o.attempts IS NULL THEN 'declined'
        WHEN a.verdict = 'edited' AND o.attempts IS NULL THEN 'replaced'
        WHEN o.is_rejected THEN 'rejected'
        WHEN o.is_open AND o.is_taken THEN 'working'
        WHEN o.filled > 0 THEN 'partly filled'
        WHEN o.is_open THEN 'waiting'
        WHEN o.attempts > 0 THEN 'unfilled'
        WHEN r.reasons IS NOT NULL THEN 'refused'
        WHEN b.mode = 'dry_run' THEN 'dry run'
        ELSE 'waiting'
    END AS status,
    coalesce(o.note, r.reasons, w.reasons, nullif(a.note, ''), '') AS note,
    l.reason
FROM ledger.batch_lines AS l
JOIN ledger.batches AS b USING (batch_id)
LEFT JOIN orders AS o USING (batch_id, line)
LEFT JOIN refused AS r USING (batch_id, line)
LEFT JOIN waiting AS w USING (batch_id, line)
LEFT JOIN ledger.approvals AS a USING (batch_id)
ORDER BY b.session_on, b.account_id, l.batch_id, l.line;
