CREATE TABLE IF NOT EXISTS orders (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    customer VARCHAR(64) NOT NULL,
    total BIGINT NOT NULL,
    status SMALLINT NOT NULL,
    placed_at BIGINT NOT NULL,
    pay_by BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_overdue ON orders (status, pay_by);
CREATE INDEX IF NOT EXISTS orders_of ON orders (customer, placed_at);
CREATE TABLE IF NOT EXISTS order_lines (
    order_id VARCHAR(64) NOT NULL,
    position SMALLINT NOT NULL,
    product_id BIGINT NOT NULL,
    title VARCHAR(120) NOT NULL,
    price BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (order_id, position)
);
-- What happened and nobody heard yet. An order has each kind once, so order and kind are the key.
CREATE TABLE IF NOT EXISTS outbox (
    order_id VARCHAR(64) NOT NULL,
    what SMALLINT NOT NULL,
    customer VARCHAR(64) NOT NULL,
    total BIGINT NOT NULL,
    pay_by BIGINT NOT NULL,
    happened_at BIGINT NOT NULL,
    PRIMARY KEY (order_id, what)
);
CREATE INDEX IF NOT EXISTS outbox_oldest ON outbox (happened_at);
