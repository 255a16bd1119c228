-- What companies did or will do to their shares, by the market's feed, as last delivered; rows that cannot be used are left out.
-- Grain: source, action_id
-- source           the price source
-- action_id        the source's own id
-- kind             split, dividend, spin_off, merger or symbol_change
-- security_id      security
-- ex_on            the ex-date
-- payable_on       the day on which it is paid; empty where the source does not say
-- new_shares       so many new shares
-- old_shares       for so many old ones
-- new_security_id  the new symbol, or what is received
-- cash_usd         USD a share
CREATE OR REPLACE VIEW mart.corporate_actions AS
SELECT a.source, a.action_id, a.kind, a.security_id, a.ex_on, a.payable_on, a.new_shares, a.old_shares, a.new_security_id, a.cash_usd
FROM stg.corporate_actions AS a
ANTI JOIN core.set_aside AS s ON s.kind = 'corporate_actions' AND s.delivery_id = a.delivery_id AND s.raw_line = a.line
WHERE a.action_id <> '' AND a.security_id <> '' AND a.ex_on IS NOT NULL AND a.is_readable  -- also when it is delivered no more
    AND CASE a.kind WHEN 'split' THEN a.old_shares IS NOT NULL WHEN 'dividend' THEN a.cash_usd > 0
        ELSE a.kind IN ('spin_off', 'merger', 'symbol_change') END
QUALIFY row_number() OVER (PARTITION BY a.source, a.action_id ORDER BY a.delivery_id DESC, a.line) = 1;
