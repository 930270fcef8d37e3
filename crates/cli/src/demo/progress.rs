//! What is seen while a run goes on: a bar on a terminal, a line a phase elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use seawall_bench::origin::Stats;

use super::stage::Schedule;

/// Whether a terminal is to be coloured; see no-color.org.
pub(super) fn colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Progress, on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = if colour() {
            "{prefix:15.bold} {bar:30.cyan/dim} {wide_msg}"
        } else {
            "{prefix:15} {bar:30} {wide_msg}"
        };
        // A template that cannot be read leaves the default one.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self { bar, terminal }
    }

    /// One line that stays; before the first run, while nothing is drawn.
    pub(super) fn say(text: &str) {
        tell!("{text}");
    }

    /// A run begins.
    pub(super) fn run<'p>(&'p self, name: &'static str, schedule: &Schedule) -> Watched<'p> {
        self.bar.set_length(millis(schedule.lasts()));
        self.bar.set_prefix(name);
        Watched {
            progress: self,
            schedule: *schedule,
            began: Instant::now(),
            phase: None,
            last: None,
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A run that is watched.
#[derive(Debug)]
pub(super) struct Watched<'p> {
    progress: &'p Progress,
    schedule: Schedule,
    began: Instant,
    phase: Option<usize>,
    last: Option<(Instant, Stats)>,
}

impl Watched<'_> {
    /// Shows where the run stands and what the origin does; `None` where it did not answer in time.
    pub(super) fn look(&mut self, stats: Option<Stats>) {
        let now = Instant::now();
        let since = now - self.began;
        let begun = |phase: &usize| self.schedule.begins(*phase) <= since;
        let phase = (0..self.schedule.phases.len())
            .rev()
            .find(begun)
            .unwrap_or(0);
        if self.phase != Some(phase) {
            self.phase = Some(phase);
            self.announce(phase);
        }
        let useful = |stats: Stats| stats.finished - stats.finished_for_gone;
        let mut state = String::new();
        if let (Some(stats), Some((then, before))) = (stats, self.last) {
            let rate =
                useful(stats).saturating_sub(useful(before)) as f64 / (now - then).as_secs_f64();
            state = format!(
                "{rate:5.0}/s of use, {} waiting at the origin",
                stats.waiting
            );
        }
        if let Some(stats) = stats {
            self.last = Some((now, stats));
        }
        let multiple = self.schedule.phases[phase].multiple;
        self.progress
            .bar
            .set_position(millis(since.min(self.schedule.lasts())));
        self.progress
            .bar
            .set_message(format!("load {multiple}×  {state}"));
    }

    fn announce(&self, phase: usize) {
        if !self.progress.terminal {
            let phase = self.schedule.phases[phase];
            let (name, seconds) = (self.progress.bar.prefix(), phase.lasts.as_secs_f64());
            let rate = phase.multiple * self.schedule.capacity;
            tell!(
                "{name}: {}× the capacity, {rate:.0}/s, for {seconds:.1} s",
                phase.multiple
            );
        }
    }

    /// The run is over.
    pub(super) fn done(self) {
        self.progress.bar.set_position(0);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
