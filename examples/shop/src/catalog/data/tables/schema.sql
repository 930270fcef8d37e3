-- What selling reads and writes all the time: short rows, many of them in a page of memory.
CREATE TABLE IF NOT EXISTS products (
    id BIGINT NOT NULL PRIMARY KEY,
    title VARCHAR(120) NOT NULL,
    price BIGINT NOT NULL,
    stock BIGINT NOT NULL
);
-- What only the page of one product shows: long, read now and then, written hardly ever.
CREATE TABLE IF NOT EXISTS product_details (
    product_id BIGINT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL,
    attributes TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS recommendations (
    product_id BIGINT NOT NULL,
    recommended_id BIGINT NOT NULL,
    PRIMARY KEY (product_id, recommended_id)
);
CREATE TABLE IF NOT EXISTS reservations (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    state SMALLINT NOT NULL,
    held_until BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS reservations_lapsing ON reservations (state, held_until);
CREATE TABLE IF NOT EXISTS reservation_lines (
    reservation_id VARCHAR(64) NOT NULL,
    position SMALLINT NOT NULL,
    product_id BIGINT NOT NULL,
    title VARCHAR(120) NOT NULL,
    price BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (reservation_id, position)
);
