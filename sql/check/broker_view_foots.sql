-- Both views of a sale have the same shares, and where long shares were sold the same proceeds; what Form 8949 says adds up to the household's own books.
WITH own AS (
    SELECT trade_id, sum(quantity) AS quantity, sum(proceeds_usd) AS proceeds_usd, sum(gain_usd) AS gain_usd
    FROM core.disposals GROUP BY ALL
), theirs AS (
    SELECT trade_id, sum(quantity) AS quantity, sum(proceeds_usd) AS proceeds_usd FROM core.broker_disposals GROUP BY ALL
), filed AS (
    SELECT trade_id, sum(quantity) AS quantity, sum(proceeds_usd) AS proceeds_usd, sum(gain_usd) AS gain_usd,
        bool_or(gain_usd <> proceeds_usd - basis_usd + adjustment_usd) AS is_wrong
    FROM core.reported_sales GROUP BY ALL
)
SELECT trade_id, own.quantity, theirs.quantity AS broker_quantity, own.proceeds_usd, theirs.proceeds_usd AS broker_proceeds_usd,
    filed.gain_usd AS filed_gain_usd
FROM own FULL JOIN filed USING (trade_id) LEFT JOIN theirs USING (trade_id) LEFT JOIN stg.transactions AS t ON t.transaction_id = trade_id
WHERE own.quantity IS DISTINCT FROM filed.quantity OR own.gain_usd IS DISTINCT FROM filed.gain_usd
    OR own.proceeds_usd IS DISTINCT FROM filed.proceeds_usd OR filed.is_wrong
    OR (own.quantity > 0 AND own.quantity IS DISTINCT FROM theirs.quantity)
    OR (t.kind = 'trade' AND own.proceeds_usd IS DISTINCT FROM theirs.proceeds_usd);
