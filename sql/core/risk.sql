-- Risk of today's holdings by historical simulation.
-- Grain: metric
-- metric    name
-- value     the figure
-- unit      unit of the figure
-- is_alert  true when a limit of the policy is passed
-- note      how it is measured
CREATE OR REPLACE TABLE core.risk (
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    unit VARCHAR NOT NULL,
    is_alert BOOLEAN NOT NULL,
    note VARCHAR NOT NULL
);
