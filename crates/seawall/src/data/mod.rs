//! Databases: a primary and its replicas, transactions, pools by lane.
