CREATE TABLE IF NOT EXISTS notices (
    order_id VARCHAR(64) NOT NULL,
    kind SMALLINT NOT NULL,
    customer VARCHAR(64) NOT NULL,
    text VARCHAR(400) NOT NULL,
    due BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    attempts BIGINT NOT NULL,
    PRIMARY KEY (order_id, kind)
);
CREATE INDEX IF NOT EXISTS notices_due ON notices (state, due);
CREATE INDEX IF NOT EXISTS notices_of ON notices (customer, due);
