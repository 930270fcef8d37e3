//! The table: medians, on the terminal and as JSON.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::Metric;
use crate::peers::Peer;

/// One line of the JSON: Seawall's figure beside one peer's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Comparison, scenario and figure.
    pub name: String,
    /// Seawall's median; null when it did not run.
    pub value: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// The peer; null when there is none to compare with.
    pub peer: Option<String>,
    /// The peer's median.
    pub peer_value: Option<f64>,
}

/// All figures, by scenario in the order they first came.
#[derive(Debug, Default)]
pub struct Rows {
    comparison: String,
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    scenario: String,
    metric: Metric,
    values: BTreeMap<Peer, Vec<f64>>,
}

impl Rows {
    /// None yet.
    #[must_use]
    pub fn new(comparison: &str) -> Self {
        Self {
            comparison: comparison.to_owned(),
            figures: Vec::new(),
        }
    }

    /// Adds a round's figures of one peer.
    pub fn add(&mut self, scenario: &str, peer: Peer, metrics: &[Metric]) {
        for metric in metrics {
            let known = self
                .figures
                .iter()
                .position(|f| f.scenario == scenario && f.metric.name == metric.name);
            let index = known.unwrap_or_else(|| {
                self.figures.push(Figure {
                    scenario: scenario.to_owned(),
                    metric: metric.clone(),
                    values: BTreeMap::new(),
                });
                self.figures.len() - 1
            });
            let values = self.figures[index].values.entry(peer).or_default();
            values.push(metric.value);
        }
    }

    /// One row a figure and peer, medians.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for figure in &self.figures {
            let value = figure.values.get(&Peer::Seawall).and_then(|v| median(v));
            let row = |peer: Option<(Peer, &Vec<f64>)>| Row {
                name: format!(
                    "{}: {}: {}",
                    self.comparison, figure.scenario, figure.metric.name
                ),
                value,
                unit: figure.metric.unit.to_owned(),
                peer: peer.map(|(peer, _)| peer.name().to_owned()),
                peer_value: peer.and_then(|(_, values)| median(values)),
            };
            let mut peers = figure
                .values
                .iter()
                .filter(|(peer, _)| **peer != Peer::Seawall);
            match peers.next() {
                None => rows.push(row(None)),
                Some((&peer, values)) => {
                    rows.push(row(Some((peer, values))));
                    rows.extend(peers.map(|(&peer, values)| row(Some((peer, values)))));
                }
            }
        }
        rows
    }

    /// Prints the table.
    ///
    /// # Errors
    /// Fails when standard output is closed.
    pub fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let mut scenario = "";
        for figure in &self.figures {
            if figure.scenario != scenario {
                scenario = &figure.scenario;
                writeln!(out, "\n{scenario}")?;
            }
            let metric = &figure.metric;
            write!(out, "  {} [{}]", metric.name, metric.unit)?;
            if !metric.goal.is_empty() {
                write!(out, ", goal {}", metric.goal)?;
            }
            writeln!(out)?;
            for (peer, values) in &figure.values {
                let middle = median(values).unwrap_or(f64::NAN);
                write!(out, "    {:<16}{middle:>10.2}", peer.name())?;
                if values.len() > 1 {
                    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    write!(out, "   ({least:.2} to {most:.2})")?;
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }

    /// Writes the rows as JSON.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(&self.rows())?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_stand_beside_each_peer() {
        let mut rows = Rows::new("overload");
        for (seawall, nginx) in [(98.0, 90.0), (99.0, 80.0), (97.0, 85.0)] {
            let metric = |value| [Metric::new("goodput", "%", "", value)];
            rows.add("at 2x", Peer::Seawall, &metric(seawall));
            rows.add("at 2x", Peer::NginxLimit, &metric(nginx));
        }
        let rows = rows.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].name, "overload: at 2x: goodput");
        assert_eq!(
            (rows[0].value, rows[0].peer_value),
            (Some(98.0), Some(85.0))
        );
    }

    #[test]
    fn a_figure_without_seawall_or_peers_is_still_a_row() {
        let mut rows = Rows::new("proxy");
        rows.add("a", Peer::Hyper, &[Metric::new("CPU", "s", "", 5.5)]);
        rows.add("b", Peer::Seawall, &[Metric::new("CPU", "s", "", 5.0)]);
        let rows = rows.rows();
        assert_eq!((rows[0].value, rows[0].peer_value), (None, Some(5.5)));
        assert_eq!((rows[1].value, rows[1].peer.as_ref()), (Some(5.0), None));
    }

    #[test]
    fn an_even_count_has_its_median_between() {
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
