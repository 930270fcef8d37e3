//! The `tracing` layer.

use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as TracingEvent, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::line::{Entry, Event};
use super::writer::{Log, LogLane};

/// The most text of one event; what goes beyond is left out. Bounds a lane's memory.
const MAX_TEXT: usize = 8 << 10;

/// Sends `tracing` events to a [`Log`], with the fields of the spans around them.
///
/// An event's fields are made into text where it happens, since they are borrowed; the line is put
/// together on the writer's thread. Errors and warnings have a lane of their own.
#[derive(Clone, Debug)]
pub struct LogLayer {
    log: Log,
}

impl LogLayer {
    pub(super) const fn new(log: Log) -> Self {
        Self { log }
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Text);

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Text::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut fields.0);
        }
    }

    fn on_event(&self, event: &TracingEvent<'_>, context: Context<'_, S>) {
        let meta = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let mut spans = String::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get::<SpanFields>()
                && is_plain(span.name())
                && spans.len() + fields.members.len() < MAX_TEXT
            {
                let comma = if spans.is_empty() { "" } else { "," };
                // Writing to a string does not fail.
                let _ = write!(spans, "{comma}\"{}\":{{{}}}", span.name(), fields.members);
            }
        }
        let lane = if *meta.level() <= Level::WARN {
            LogLane::Urgent
        } else {
            LogLane::Info
        };
        let event = Event {
            time: SystemTime::now(),
            level: meta.level().as_str(),
            target: meta.target(),
            message: text.message,
            fields: text.members,
            spans,
        };
        self.log.put(lane, Entry::Event(Box::new(event)));
    }
}

/// Whether a name can be a JSON key as it is. Names are written in source code; one that would need
/// an escape is not worth it, and is left out.
fn is_plain(name: &str) -> bool {
    !name.contains(['"', '\\']) && !name.contains(char::is_control)
}

/// The message, and the other fields as members of a JSON object.
#[derive(Default)]
struct Text {
    message: String,
    members: String,
}

impl Text {
    fn member(&mut self, field: &Field, value: &impl serde::Serialize) {
        let Ok(json) = serde_json::to_string(value) else {
            return;
        };
        let name = field.name();
        if !is_plain(name) || self.members.len() + json.len() + name.len() > MAX_TEXT {
            return;
        }
        let comma = if self.members.is_empty() { "" } else { "," };
        let _ = write!(self.members, "{comma}\"{name}\":{json}");
    }
}

/// A string that stops growing at [`MAX_TEXT`], at a character's border.
struct Cut<'s>(&'s mut String);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

impl Visit for Text {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            let _ = Cut(&mut self.message).write_str(value);
        } else {
            self.member(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(Cut(&mut self.message), "{value:?}");
        } else {
            let mut text = String::new();
            let _ = write!(Cut(&mut text), "{value:?}");
            self.member(field, &text);
        }
    }
}
