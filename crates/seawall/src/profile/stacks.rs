//! Stacks with weights, and the two forms in which they are answered.
//!
//! CPU and heap profiles differ in where stacks come from, and in nothing after that. So symbols are
//! looked up here, each address once, and the pprof message is written here: its few fields with the
//! prost that gRPC brings anyway. The profiler's own encoding would bring a second prost with its
//! code generator, nine crates.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ptr;

use flate2::Compression;
use flate2::write::GzEncoder;
use inferno::flamegraph;
use prost::Message;

use super::pprof as proto;

/// What the weights of a profile are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    /// What a flame graph is headed with.
    pub(super) title: &'static str,
    /// Type and unit of each value, the main one last.
    pub(super) values: &'static [(&'static str, &'static str)],
    /// The type and unit that is sampled, and how much of it lies between two samples.
    pub(super) period: ((&'static str, &'static str), i64),
}

/// A stack by addresses, the innermost first, and what was seen of it.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) addresses: Vec<usize>,
    pub(super) thread: Option<String>,
    /// As many as the unit has.
    pub(super) values: Vec<i64>,
}

/// A function at an address; several where it was inlined, the innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    function: String,
    file: String,
    line: u32,
}

/// Stacks with their symbols.
#[derive(Debug)]
pub(super) struct Stacks {
    unit: Unit,
    stacks: Vec<Stack>,
    frames: HashMap<usize, Vec<Frame>>,
}

/// The signal handler of the CPU profiler. What it calls is not the program's, nor is the kernel's
/// trampoline that called it.
const HANDLER: &str = "perf_signal_handler";

impl Stacks {
    /// Looks the symbols up: seconds for a large program the first time, so not on a runtime's worker.
    pub(super) fn new(unit: Unit, mut stacks: Vec<Stack>) -> Self {
        let mut frames = HashMap::new();
        for stack in &mut stacks {
            for address in &stack.addresses {
                frames.entry(*address).or_insert_with(|| symbols(*address));
            }
            let is_handler = |address: &usize| {
                let frames: &Vec<Frame> = &frames[address];
                frames.iter().any(|frame| frame.function == HANDLER)
            };
            if let Some(at) = stack.addresses.iter().position(is_handler) {
                let program = (at + 2).min(stack.addresses.len());
                stack.addresses.drain(..program);
            }
        }
        stacks.retain(|stack| !stack.addresses.is_empty());
        Self {
            unit,
            stacks,
            frames,
        }
    }

    /// As the [pprof](https://github.com/google/pprof/tree/main/proto) format has it: a gzipped
    /// `perftools.profiles.Profile`.
    pub(super) fn pprof(&self, taken: Taken) -> io::Result<Vec<u8>> {
        let profile = self.profile(taken);
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        zip.write_all(&profile.encode_to_vec())?;
        zip.finish()
    }

    fn profile(&self, taken: Taken) -> proto::Profile {
        let mut strings = Strings::default();
        // The first is empty by definition.
        strings.number("");
        let mut value_type = |(kind, unit): (&str, &str)| proto::ValueType {
            kind: strings.number(kind),
            unit: strings.number(unit),
        };
        let mut profile = proto::Profile {
            sample_type: self.unit.values.iter().map(|v| value_type(*v)).collect(),
            period_type: Some(value_type(self.unit.period.0)),
            period: self.unit.period.1,
            time_nanos: taken.at,
            duration_nanos: taken.took,
            ..proto::Profile::default()
        };
        let mut functions = HashMap::new();
        let mut locations = HashMap::new();
        for stack in &self.stacks {
            let mut sample = proto::Sample {
                value: stack.values.clone(),
                ..proto::Sample::default()
            };
            if let Some(thread) = &stack.thread {
                sample.label.push(proto::Label {
                    key: strings.number("thread"),
                    text: strings.number(thread),
                });
            }
            for address in &stack.addresses {
                let next = locations.len() as u64 + 1;
                let id = *locations.entry(*address).or_insert(next);
                sample.location_id.push(id);
                if id == next {
                    let line = self.lines(*address, &mut functions, &mut strings, &mut profile);
                    profile.location.push(proto::Location {
                        id,
                        address: *address as u64,
                        line,
                    });
                }
            }
            profile.sample.push(sample);
        }
        profile.string_table = strings.texts;
        profile
    }

    fn lines<'a>(
        &'a self,
        address: usize,
        functions: &mut HashMap<(&'a str, &'a str), u64>,
        strings: &mut Strings,
        profile: &mut proto::Profile,
    ) -> Vec<proto::Line> {
        let line = |frame: &'a Frame| {
            let next = functions.len() as u64 + 1;
            let key = (frame.function.as_str(), frame.file.as_str());
            let id = *functions.entry(key).or_insert(next);
            if id == next {
                profile.function.push(proto::Function {
                    id,
                    name: strings.number(&frame.function),
                    system_name: strings.number(&frame.function),
                    filename: strings.number(&frame.file),
                });
            }
            proto::Line {
                function_id: id,
                line: i64::from(frame.line),
            }
        };
        self.frames[&address].iter().map(line).collect()
    }

    /// A flame graph as SVG, of the unit's last value: search and zoom by its own script.
    pub(super) fn flame_graph(&self, notes: &str) -> io::Result<Vec<u8>> {
        let mut folded: HashMap<String, i64> = HashMap::new();
        for stack in &self.stacks {
            let value = stack.values.last().copied().unwrap_or(0);
            *folded.entry(self.folded(stack)).or_default() += value;
        }
        if folded.is_empty() {
            // A flame graph of nothing is an error of inferno's, and a question to its reader.
            folded.insert("nothing was sampled".to_owned(), 1);
        }
        let lines: Vec<String> = folded
            .into_iter()
            .map(|(stack, value)| format!("{stack} {value}"))
            .collect();
        let mut options = flamegraph::Options::default();
        options.title = self.unit.title.to_owned();
        options.subtitle = Some(notes.to_owned());
        options.count_name = self.unit.values.last().map_or("", |v| v.1).to_owned();
        let mut svg = Vec::new();
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
            .map_err(io::Error::other)?;
        Ok(svg)
    }

    /// Outermost first, separated by `;`, as flame graph tools read it.
    fn folded(&self, stack: &Stack) -> String {
        let frames = stack.addresses.iter().rev();
        let names = frames.flat_map(|address| self.frames[address].iter().rev());
        let names = names.map(|frame| frame.function.as_str());
        let all: Vec<String> = stack
            .thread
            .as_deref()
            .into_iter()
            .chain(names)
            .map(|name| name.replace(';', ":"))
            .collect();
        all.join(";")
    }
}

/// When a profile was taken, and for how long, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) at: i64,
    pub(super) took: i64,
}

fn symbols(address: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    // An address that is only looked up.
    let pointer = ptr::without_provenance_mut(address);
    backtrace::resolve(pointer, |symbol| {
        let Some(name) = symbol.name() else { return };
        frames.push(Frame {
            // Without the hash.
            function: format!("{name:#}"),
            file: symbol
                .filename()
                .map_or_else(String::new, |file| file.display().to_string()),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    if frames.is_empty() {
        frames.push(Frame {
            function: format!("{address:#x}"),
            file: String::new(),
            line: 0,
        });
    }
    frames
}

/// The table of strings that a profile refers to by number.
#[derive(Debug, Default)]
struct Strings {
    numbers: HashMap<String, i64>,
    texts: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> i64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as i64;
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }
}
