//! The table of what the client side must show, each policy beside the others.
//!
//! `cargo run --release -p seawall-policy --features sim --example fleet [ROW] [SEED]`
#![allow(clippy::print_stdout, reason = "its output is the point")]

use seawall_policy::sim::fleet::rows::{Bound, Figure, ROWS, Row};

fn must(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(limit) => format!(">= {limit}"),
        Bound::AtMost(limit) => format!("<= {limit}"),
        Bound::AtLeastOf(name, less) => format!(">= {name} - {less}"),
        Bound::AtMostOf(name, times) => format!("<= {times} x {name}"),
    }
}

fn print(row: &Row, seed: u64) {
    println!("\n{}: {}", row.name, row.must);
    let policies: Vec<(&str, Vec<Figure>)> = (row.policies.iter())
        .filter_map(|&name| Some((name, row.run(name, seed)?)))
        .collect();
    let Some((_, first)) = policies.first() else {
        return;
    };
    let width = first.iter().map(|f| f.name.len()).max().unwrap_or(0);
    print!("{:width$}", "");
    for (name, _) in &policies {
        print!(" {name:>14}");
    }
    println!("  must be");
    for (i, figure) in first.iter().enumerate() {
        print!("{:width$}", figure.name);
        for (_, figures) in &policies {
            print!(" {:>14}", figures[i].written());
        }
        println!("  {}", figure.bound.map(must).unwrap_or_default());
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next();
    let seed = args.next().and_then(|s| s.parse().ok()).unwrap_or(1);
    match name.as_deref() {
        Some(name) => match Row::find(name) {
            Some(row) => print(row, seed),
            None => {
                let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                println!("no row is called {name}; there are {}", names.join(", "));
            }
        },
        None => ROWS.iter().for_each(|row| print(row, seed)),
    }
}
