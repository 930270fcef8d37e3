//! The two runs side by side, as rows: for the terminal and for the page.

use std::fmt::Write as _;

use super::report::{Phase, Results, Side};

/// The generator's own lateness, in milliseconds, that is told: where benches call a round void.
/// Connecting anew for each of 10,000 requests a second makes that common on two cores.
const LATE_MS: f64 = 1.0;
/// A tenth of what clients wait: from here on it decides who is served in time.
const TOO_LATE_MS: f64 = 25.0;

/// A figure of both runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) without: String,
    pub(super) with: String,
}

/// All rows, from what matters most.
pub(super) fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |label: String, of: &dyn Fn(&Side) -> String| {
        rows.push(Row {
            label,
            without: of(&results.without),
            with: of(&results.with),
        });
    };
    for (at, plan) in results.phases.iter().enumerate() {
        let label = format!("goodput, {} ({}×)", plan.name, plan.multiple);
        row(label, &|side| goodput(&side.phases[at], results.capacity));
    }
    row("time to recover".into(), &|side| recovery(side, results));
    row("served in the burst, p50".into(), &|side| {
        ms(side.phases[1].p50_ms)
    });
    row("served in the burst, p99".into(), &|side| {
        ms(side.phases[1].p99_ms)
    });
    row("served afterwards, p99".into(), &|side| {
        ms(side.phases[2].p99_ms)
    });
    row("rejected".into(), &|side| count(side.rejected()));
    row("waited 250 ms in vain".into(), &|side| {
        count(side.phases.iter().map(|phase| phase.timed_out).sum())
    });
    row("failed".into(), &|side| {
        count(side.phases.iter().map(|phase| phase.failed).sum())
    });
    row("origin's work for callers gone".into(), &|side| {
        format!("{:.1} %", side.work_for_gone * 100.0)
    });
    rows
}

/// Of what could be served: the offered load or the capacity, whichever is less.
fn goodput(phase: &Phase, capacity: f64) -> String {
    let possible = phase.offered.min(capacity);
    let share = if possible > 0.0 {
        100.0 * phase.goodput / possible
    } else {
        0.0
    };
    // Rounding must not show a collapse as nothing lost, nor noise as a gain.
    format!("{:.0}/s ({:.0} %)", phase.goodput, share.min(100.0))
}

fn recovery(side: &Side, results: &Results) -> String {
    match (side.recovery_s, results.phases.last()) {
        (Some(seconds), _) if seconds < 0.05 => "at once".into(),
        (Some(seconds), _) => format!("{seconds:.1} s"),
        (None, last) => format!(
            "not within {:.0} s",
            last.map_or(0.0, |phase| phase.seconds)
        ),
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or("nothing served".into(), |ms| format!("{ms:.0} ms"))
}

/// With commas: five digits and more are hard to compare without.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// What the figures are of, and whether to believe them.
pub(super) fn notes(results: &Results) -> Vec<String> {
    let multiples: Vec<String> = results
        .phases
        .iter()
        .map(|phase| format!("{}× for {:.1} s", phase.multiple, phase.seconds))
        .collect();
    let mut notes = vec![
        format!(
            "Origin: 20 requests at a time, 20 ms each; saturated, it delivered {:.0} a second. The load was {} of that.",
            results.capacity,
            multiples.join(", then ")
        ),
        "Arrivals are Poisson and wait for nobody (open loop); clients give up after 250 ms. \
         Goodput counts answers in full and in time; its percentage is of what could be served."
            .to_owned(),
        "Like most servers, the origin learns that a caller has left only when it writes the answer."
            .to_owned(),
    ];
    if cfg!(debug_assertions) {
        notes.push(
            "This is a debug build, whose figures say little: build it with `cargo build --release -p seawall-cli`."
                .to_owned(),
        );
    }
    for (side, name) in [(&results.without, "without"), (&results.with, "with")] {
        let late = side.lateness_p99_ms;
        if late > TOO_LATE_MS {
            notes.push(format!(
                "Run {name} Seawall: the load generator itself was {late:.0} ms late (p99): the machine, rather than Seawall or the origin, was the limit. Try again while it is less busy."
            ));
        } else if late > LATE_MS {
            notes.push(format!(
                "Run {name} Seawall: the load generator itself was {late:.1} ms late (p99), which the latencies include."
            ));
        }
    }
    notes
}

/// For the terminal.
pub(super) fn table(results: &Results, colour: bool) -> String {
    let heading = Row {
        label: String::new(),
        without: "without Seawall".into(),
        with: "with Seawall".into(),
    };
    let rows = rows(results);
    let width = |of: fn(&Row) -> &str| {
        let all = rows.iter().chain([&heading]);
        all.map(|row| of(row).chars().count()).max().unwrap_or(0)
    };
    let widths = (
        width(|row| &row.label),
        width(|row| &row.without),
        width(|row| &row.with),
    );
    let (strong, faint, plain) = if colour {
        ("\x1b[1m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let mut out = String::new();
    let mut line = |row: &Row, style: &str| {
        let Row {
            label,
            without,
            with,
        } = row;
        let (label_width, without_width, with_width) = widths;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{style}{label:label_width$}  {without:>without_width$}  {with:>with_width$}{}",
            if style.is_empty() { "" } else { plain }
        );
    };
    line(&heading, strong);
    for row in &rows {
        line(row, "");
    }
    out.push('\n');
    for note in notes(results) {
        let _ = writeln!(out, "{faint}{note}{plain}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::fixed;
    use super::*;

    #[test]
    fn the_table_as_a_whole() {
        let expected = "\
                                 without Seawall    with Seawall
goodput, before (0.5×)             500/s (100 %)   500/s (100 %)
goodput, burst (10×)                  30/s (3 %)    985/s (98 %)
goodput, after (0.5×)                  0/s (0 %)   500/s (100 %)
time to recover                   not within 8 s           0.3 s
served in the burst, p50                   21 ms           21 ms
served in the burst, p99                   32 ms           32 ms
served afterwards, p99            nothing served           32 ms
rejected                                       0          72,120
waited 250 ms in vain                     83,760               0
failed                                         0               0
origin's work for callers gone            91.0 %           0.0 %
";
        let table = table(&fixed(), false);
        let (figures, notes) = table.split_once("\n\n").expect("notes below");
        assert_eq!(
            figures
                .replace("  ", " ")
                .split_whitespace()
                .collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
        assert!(notes.starts_with("Origin: 20 requests at a time"));
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn columns_line_up() {
        let table = table(&fixed(), false);
        let figures = table.split("\n\n").next().expect("a table");
        let widths: Vec<_> = figures.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
    }

    #[test]
    fn a_generator_that_was_late_is_told() {
        let mut results = fixed();
        assert!(!notes(&results).iter().any(|note| note.contains("late")));
        results.without.lateness_p99_ms = 3.91;
        results.with.lateness_p99_ms = 30.2;
        let notes = notes(&results).join(" ");
        assert!(notes.contains("without Seawall: the load generator itself was 3.9 ms late"));
        assert!(notes.contains("with Seawall: the load generator itself was 30 ms late"));
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn colour_only_where_asked() {
        assert!(table(&fixed(), true).contains("\x1b[1m"));
    }
}
