//! Registration and endpoints in etcd.
