//! From one interval to the next, until there is an end.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::Instant;

use futures_util::future::join_all;
use seawall_sync::shutdown::Signals;
use tokio::time::{MissedTickBehavior, interval};

use super::TopArgs;
use super::ask::{Instance, token};
use super::show::picture;
use super::sum::{Past, View};
use crate::Failure;

pub(super) fn run(args: &TopArgs) -> Result<(), Failure> {
    let token = match &args.token_file {
        None => None,
        Some(file) => {
            let failed =
                |why: String| Failure::new(format!("--token-file {}: {why}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
            Some(token(&text).map_err(failed)?)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let done = runtime.block_on(async {
        let instances = args
            .admin
            .iter()
            .map(|admin| Instance::new(admin, token.as_ref()));
        let instances = instances.collect::<Result<Vec<_>, _>>()?;
        let mut signals = Signals::new()
            .map_err(|error| Failure::new(format!("cannot catch signals: {error}")))?;
        let mut out = Out::new(args);
        tokio::select! {
            done = watch(args, &instances, &mut out) => done,
            _ = signals.next() => Ok(()),
        }
    });
    // A name that is being looked up does not keep who has seen enough.
    runtime.shutdown_background();
    done
}

async fn watch(args: &TopArgs, instances: &[Instance], out: &mut Out) -> Result<(), Failure> {
    let mut past = Past::default();
    let mut tick = interval(args.interval);
    // A reading that was late is not followed by one too early, whose rates would be of nothing.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let first = read(instances, &mut past).await;
    if first.instances.iter().all(|one| one.error.is_some()) {
        return Err(nobody(&first));
    }
    out.wait(&first)?;
    loop {
        tick.tick().await;
        let view = read(instances, &mut past).await;
        if !out.show(&view)? || args.once {
            return Ok(());
        }
    }
}

async fn read(instances: &[Instance], past: &mut Past) -> View {
    let each = instances
        .iter()
        .map(async |one| (one.admin.clone(), one.read().await));
    let readings = join_all(each).await;
    past.view(Instant::now(), readings)
}

fn nobody(view: &View) -> Failure {
    let each = view.instances.iter();
    let told = each.map(|one| format!("{} {}", one.admin, one.error.as_deref().unwrap_or("")));
    Failure::new(told.collect::<Vec<_>>().join("\nseawall: "))
}

/// Standard output: a picture that is drawn anew in place, on a terminal; else one after the other.
struct Out {
    json: bool,
    screen: bool,
    last: String,
}

/// Another screen, so that what was on this one comes back; no cursor; long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

impl Out {
    fn new(args: &TopArgs) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let screen = std::io::stdout().is_terminal() && !args.once && !args.json && !dumb;
        if screen {
            // If it cannot be written to, the first picture says so.
            let _ = write(ENTER);
        }
        Self {
            json: args.json,
            screen,
            last: String::new(),
        }
    }

    /// The first interval has begun.
    fn wait(&mut self, view: &View) -> Result<(), Failure> {
        if self.screen {
            self.last = picture(view);
            write(&drawn(&self.last))?;
        }
        Ok(())
    }

    /// False: nobody reads any more.
    fn show(&mut self, view: &View) -> Result<bool, Failure> {
        if self.json {
            let line = serde_json::to_string(view)
                .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
            return write(&(line + "\n"));
        }
        let picture = picture(view);
        if self.screen {
            self.last = picture;
            return write(&drawn(&self.last));
        }
        let gap = if self.last.is_empty() { "" } else { "\n" };
        let text = format!("{gap}{picture}");
        self.last = picture;
        write(&text)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if self.screen {
            // What was seen last stays.
            let _ = write(&format!("{LEAVE}{}", self.last));
        }
    }
}

/// Each line at its place, so that a picture higher than the screen does not scroll it: what is too
/// much meets in the last line.
fn drawn(picture: &str) -> String {
    let lines = (1..).zip(picture.lines());
    let lines = lines.map(|(row, line)| format!("\x1b[{row};1H{line}\x1b[K"));
    lines.collect::<String>() + "\x1b[J"
}

/// False: nobody reads any more.
fn write(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!(
            "cannot write to standard output: {error}"
        ))),
    }
}
