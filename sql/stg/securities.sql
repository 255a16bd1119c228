-- Securities that we know, with the asset class that targets are written in.
-- Grain: security_id
-- security_id  security
-- name         name
-- asset_class  sector
-- kind         security; fund: its basis may be averaged; digital_asset: held directly, and no security (a crypto fund and a tokenised security are securities)
CREATE OR REPLACE VIEW stg.securities AS
SELECT
    trim(payload ->> 'symbol') AS security_id,
    trim(payload ->> 'name') AS name,
    trim(payload ->> 'sector') AS asset_class,
    coalesce(nullif(trim(payload ->> 'kind'), ''), 'security') AS kind
FROM raw.securities
QUALIFY row_number() OVER (PARTITION BY trim(payload ->> 'symbol') ORDER BY delivery_id DESC, line) = 1;
