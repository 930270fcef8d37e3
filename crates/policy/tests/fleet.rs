//! The rows of the client side, each with several seeds. All figures beside those of others:
//! `cargo run --release -p seawall-policy --features sim --example fleet`.
#![cfg(feature = "sim")]

use seawall_policy::sim::fleet::rows::{ROWS, Row};

#[track_caller]
fn holds(name: &str, seeds: u64) {
    let row = Row::find(name).expect("the row is in the table");
    holds_for(row.policies[0], name, seeds);
}

#[track_caller]
fn holds_for(policy: &str, name: &str, seeds: u64) {
    let row = Row::find(name).expect("the row is in the table");
    let misses = (1..=seeds).flat_map(|seed| row.missed_by(policy, seed));
    let misses: Vec<String> = misses.collect();
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

#[test]
fn a_slow_server_fails_one_call_in_a_thousand_at_most() {
    holds("slow-server", 16);
}

#[test]
fn the_tail_at_nine_tenths_is_no_longer_than_prequals() {
    holds("prequal", 2);
}

#[test]
fn fast_failures_attract_nothing() {
    holds("fast-failures", 5);
}

#[test]
fn retries_help_at_every_rate_and_never_add_more_than_a_tenth() {
    holds("retry-rates", 2);
}

#[test]
fn an_outage_ends_when_it_ends() {
    holds("outage", 3);
    // Hedges hide a host that is not used again; reports on responses find it by themselves.
    holds_for("seawall-no-hedge", "outage", 3);
    holds_for("seawall-pool", "outage", 3);
}

#[test]
fn retries_do_not_multiply_from_tier_to_tier() {
    holds("retry-tiers", 5);
}

#[test]
fn a_new_host_is_neither_starved_nor_stampeded() {
    holds("new-host", 3);
}

/// A bound that everything meets proves nothing: at least one of the others misses it.
#[test]
fn every_row_tells_policies_apart() {
    for row in &ROWS {
        let ours = |name: &&str| name.starts_with("seawall");
        let mut others = row.policies.iter().filter(|name| !ours(name)).rev();
        let missed = others.any(|name| !row.missed_by(name, 1).is_empty());
        assert!(missed, "{}", row.name);
    }
}
