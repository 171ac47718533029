//! The log on standard error: what the crates of cairn say about their doings.
//!
//! ```text
//! (nothing)                   no log
//! --log-format text|json      what may need attention
//! --verbose                   everything, as text unless the format is given
//! ```
//! Every event is one line. What is logged holds no secrets: that is for those who log to see to.

use std::fmt::{self as text, Debug, Write as _};
use std::io::{self, Stderr, Write};
use std::sync::OnceLock;

use cairn_fuse::Said;
use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt};

use super::failure::printable;

/// The crates whose events are logged; `cairn` covers the program too.
const CRATES: [&str; 4] = ["cairn", "cairn_formats", "cairn_store", "cairn_fuse"];

/// The warnings of a command that does not end at one.
static WARNED: OnceLock<Said> = OnceLock::new();

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Time, level, place, message and `key=value`
    Text,
    /// A JSON object a line
    Json,
}

impl LogFormat {
    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Takes one event at a time. Names and messages of others in it may hold line breaks and what
/// terminals take for commands.
struct OneLine(Stderr);

impl Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event);
        let line = printable(line.strip_suffix('\n').unwrap_or(&line));
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts the log if the user wants one, and says whether.
pub(super) fn start(verbose: bool, format: Option<LogFormat>) -> bool {
    let level = match (verbose, format) {
        (true, _) => Level::DEBUG,
        (false, Some(_)) => Level::INFO,
        (false, None) => return false,
    };
    begin(level, format.unwrap_or(LogFormat::Text))
}

/// Starts a log of what needs attention if there is none, for commands that go on when something fails. Whatever log
/// there is, it has the same warning once a minute at most.
pub(super) fn warnings() {
    begin(Level::WARN, LogFormat::Text);
    WARNED.get_or_init(Said::default);
}

fn begin(level: Level, format: LogFormat) -> bool {
    let level = LevelFilter::from_level(level);
    let targets = Targets::new().with_targets(CRATES.map(|name| (name, level)));
    // Where standard error is closed or full, the log is lost and the job goes on.
    let lines = fmt::layer().with_writer(|| OneLine(io::stderr())).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).map_event_format(News).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).map_event_format(News).boxed(),
    };
    set_global_default(Registry::default().with(lines.with_filter(targets))).is_ok()
}

/// Writes events, but no warning that was written just now.
struct News<F>(F);

impl<S, N, F> FormatEvent<S, N> for News<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> text::Result {
        if let (&Level::WARN, Some(warned)) = (event.metadata().level(), WARNED.get()) {
            let mut words = Words(String::new());
            event.record(&mut words);
            if !warned.is_news(&words.0) {
                return Ok(());
            }
        }
        self.0.format_event(context, writer, event)
    }
}

/// What an event says, without the time.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
