//! Progress on standard error: a bar for people, lines for programs.
//!
//! ```text
//! terminal, or DESYNC_PROGRESSBAR_ENABLED set      a bar with bytes, rate and time left
//! DESYNC_ENABLE_PARSABLE_PROGRESS set              desync's lines, as RAUC and others read them
//! otherwise                                        nothing
//! ```

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn::{Monitor, Unit};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::signals::Signals;

/// How often a line is printed for programs, as desync does it.
const LINE_INTERVAL: Duration = Duration::from_millis(500);

/// How often the bar is drawn, in hertz.
const BAR_RATE: u8 = 10;

/// Shows what a job does, and passes on the user's wish to end it.
#[derive(Clone)]
pub(super) struct Progress {
    signals: Signals,
    form: Form,
    /// Stands before the name of every phase in lines for programs.
    prefix: &'static str,
    began: Instant,
    phase: Arc<Mutex<Option<Phase>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Nothing,
    Bar,
    Lines,
}

/// The phase that is going on.
enum Phase {
    Bar(ProgressBar, Unit),
    Lines(Lines),
}

struct Lines {
    /// With the blank that stands between it and the percentage.
    prefix: String,
    total: u64,
    done: u64,
    started: Instant,
    printed: Instant,
}

impl Progress {
    /// The form that the terminal and the environment ask for. A log on standard error would be
    /// torn by a bar, so there is none beside it unless the environment insists.
    pub(super) fn from_environment(signals: Signals, is_logging: bool) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let form = if is_set("DESYNC_ENABLE_PARSABLE_PROGRESS") {
            Form::Lines
        } else if io::stderr().is_terminal() && !is_logging || is_set("DESYNC_PROGRESSBAR_ENABLED")
        {
            Form::Bar
        } else {
            Form::Nothing
        };
        Self { signals, form, prefix: "", began: Instant::now(), phase: Arc::default() }
    }

    /// The same, with other words before the names of phases in lines for programs.
    pub(super) fn with_prefix(&self, prefix: &'static str) -> Self {
        Self { prefix, ..self.clone() }
    }

    /// The same without lines for programs, for commands for which desync has none.
    pub(super) fn without_lines(&self) -> Self {
        let form = if self.form == Form::Lines { Form::Nothing } else { self.form };
        Self { form, ..self.clone() }
    }

    /// Prints a closing line for people who saw a bar: what was done, to so many bytes, and how fast.
    pub(super) fn summary(&self, line: &str, bytes: u64) {
        if self.form != Form::Bar {
            return;
        }
        let took = self.began.elapsed();
        let rate = HumanBytes((bytes as f64 / took.as_secs_f64().max(0.001)) as u64);
        let (bytes, took) = (HumanBytes(bytes), HumanDuration(took));
        let _ = writeln!(io::stderr(), "{line}; {bytes} in {took:#}, {rate}/s");
    }

    /// Prints a line about something that was found, without disturbing the bar.
    pub(super) fn note(&self, line: &impl Display) {
        let line = super::failure::printable(&line.to_string());
        let print = || _ = writeln!(io::stderr(), "{line}");
        self.with_phase(|phase| match phase {
            Some(Phase::Bar(bar, _)) => bar.suspend(print),
            Some(Phase::Lines(_)) | None => print(),
        });
    }

    fn with_phase(&self, change: impl FnOnce(&mut Option<Phase>)) {
        change(&mut self.phase.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Monitor for Progress {
    fn notice(&self, path: &Path, what: &str) {
        self.note(&format!("warning: {}: {what}", path.display()));
    }

    fn start(&self, name: &str, unit: Unit, total: Option<u64>) {
        self.with_phase(|phase| {
            *phase = match self.form {
                Form::Nothing => None,
                Form::Bar if total == Some(0) => None,
                Form::Bar => Some(Phase::Bar(bar(name, unit, total), unit)),
                Form::Lines => Some(Phase::Lines(Lines::start(self.prefix, name, total))),
            };
        });
    }

    fn expect(&self, total: u64) {
        self.with_phase(|phase| match phase {
            Some(Phase::Bar(bar, unit)) => {
                bar.set_style(style(*unit, true));
                bar.set_length(total);
            }
            Some(Phase::Lines(lines)) => lines.total = total,
            None => {}
        });
    }

    fn advance(&self, units: u64) {
        if self.form == Form::Nothing {
            return;
        }
        self.with_phase(|phase| match phase {
            Some(Phase::Bar(bar, _)) => bar.inc(units),
            Some(Phase::Lines(lines)) => lines.advance(units),
            None => {}
        });
    }

    fn finish(&self) {
        self.with_phase(|phase| match phase.take() {
            Some(Phase::Bar(bar, _)) => bar.finish_and_clear(),
            Some(Phase::Lines(lines)) => lines.finish(),
            None => {}
        });
    }

    fn is_interrupted(&self) -> bool {
        self.signals.caught().is_some()
    }
}

fn bar(name: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(BAR_RATE));
    bar.with_style(style(unit, total.is_some())).with_message(name.to_owned())
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let counts = match (unit, has_total) {
        (Unit::Bytes, true) => "{bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        (Unit::Bytes, false) => "{bytes}  {bytes_per_sec}  {elapsed}",
        (Unit::Chunks, true) => "{human_pos}/{human_len} chunks  {eta} left",
        (Unit::Chunks, false) => "{human_pos} chunks  {elapsed}",
    };
    let gauge = if has_total { "[{bar:30}] {percent:>3}%  " } else { "{spinner} " };
    ProgressStyle::with_template(&format!("{{msg}} {gauge}{counts}"))
        .expect("the template is well-formed")
        .progress_chars("=> ")
}

impl Lines {
    fn start(prefix: &str, name: &str, total: Option<u64>) -> Self {
        let now = Instant::now();
        // desync gives some bars no name at all, and then no blank either.
        let prefix = if name.is_empty() { String::new() } else { format!("{prefix}{name} ") };
        let total = total.unwrap_or(0);
        let lines = Self { prefix, total, done: 0, started: now, printed: now };
        lines.print(None);
        lines
    }

    fn advance(&mut self, units: u64) {
        self.done += units;
        if self.printed.elapsed() < LINE_INTERVAL {
            return;
        }
        self.printed = Instant::now();
        let left = self.total.saturating_sub(self.done) as f64 / self.done.max(1) as f64;
        let left = (left * self.started.elapsed().as_secs_f64()) as u64;
        self.print(Some(Duration::from_secs(left)));
    }

    fn finish(&self) {
        self.print(Some(self.started.elapsed()));
    }

    fn print(&self, time: Option<Duration>) {
        let mut line = self.prefix.clone();
        if self.total > 0 {
            let percent = 100.0 * self.done.min(self.total) as f64 / self.total as f64;
            line.push_str(&format!(" {percent:6.2}%"));
        }
        if let Some(time) = time {
            line.push_str(&format!(" {}", go_duration(time)));
        }
        // Whoever has closed our standard error does not want to read this.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Whole seconds as Go prints a duration: `5s`, `1m5s`, `2h0m5s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_like_those_of_go() {
        let text = |seconds: u64| go_duration(Duration::from_millis(seconds * 1000 + 999));
        assert_eq!([text(0), text(65), text(7205)], ["0s", "1m5s", "2h0m5s"]);
    }
}
