//! A line for every request that was answered.
//!
//! ```text
//! common   127.0.0.1 - - [21/Nov/2026:12:00:00 +0000] "GET /x HTTP/1.1" 200 123
//! desync   2026/11/21 12:00:00 Client: 127.0.0.1:50000, Request: GET /x, Response: 200
//! json     {"time":"2026-11-21T12:00:00.123Z","client":"127.0.0.1:50000","method":"GET", …}
//! ```
//! Times are UTC. Each line is one write to a file that is appended to, so it stays whole and may be
//! moved away and made anew by others.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode, Uri, Version};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStyle {
    /// The common log format of web servers.
    Common,
    /// As desync writes it.
    Desync,
    /// A JSON object.
    Json,
}

impl FromStr for LogStyle {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "common" => Ok(LogStyle::Common),
            "desync" => Ok(LogStyle::Desync),
            "json" => Ok(LogStyle::Json),
            _ => Err(format!("unknown form '{name}' (common, desync or json)")),
        }
    }
}

/// Where the lines go.
#[derive(Debug)]
pub struct AccessLog {
    style: LogStyle,
    /// `None` for standard error.
    file: Option<File>,
}

/// A request and what became of it.
pub(super) struct Entry<'a> {
    pub(super) client: SocketAddr,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) status: StatusCode,
    /// Of the body of the reply, if that is known.
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

impl AccessLog {
    /// Into a file that was opened to be appended to, or to standard error.
    pub fn new(style: LogStyle, file: Option<File>) -> Self {
        Self { style, file }
    }

    /// Writes a line. One that cannot be written is lost: that is no reason to serve nobody.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        if self.style == LogStyle::Desync && entry.status == StatusCode::TEMPORARY_REDIRECT {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = line(self.style, entry, since);
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn line(style: LogStyle, entry: &Entry<'_>, since: Duration) -> String {
    let (year, month, day) = date(since.as_secs() / 86400);
    let second = since.as_secs() % 86400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let Entry { client, method, uri, status, .. } = entry;
    let status = status.as_u16();
    let mut line = String::with_capacity(200);
    // Writing to a string does not fail.
    let _ = match style {
        LogStyle::Common => {
            const MONTHS: [&str; 12] = [
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ];
            let month = MONTHS[usize::from(month) - 1];
            // A quote would end the field.
            let uri = uri.to_string().replace('"', "%22");
            writeln!(
                line,
                "{} - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \
                 \"{method} {uri} {:?}\" {status} {}",
                client.ip().to_canonical(),
                entry.version,
                entry.bytes
            )
        }
        LogStyle::Desync => writeln!(
            line,
            "{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02} Client: {client}, \
             Request: {method} {uri}, Response: {status}"
        ),
        LogStyle::Json => {
            let millis = since.subsec_millis();
            let time = format!(
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
            );
            let object = serde_json::json!({
                "time": time,
                "client": client.to_string(),
                "method": method.as_str(),
                "uri": uri.to_string(),
                "status": status,
                "bytes": entry.bytes,
                "seconds": entry.took.as_secs_f64(),
            });
            writeln!(line, "{object}")
        }
    };
    line
}

/// Year, month and day of a day since 1970, by the Gregorian calendar.
fn date(days: u64) -> (u64, u8, u8) {
    // Counted from 1 March of the year 0, so that the leap day is a year's last; a cycle of the
    // calendar is 400 years or 146 097 days.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = (day - (153 * month + 2) / 5 + 1) as u8;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month as u8, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_promised() {
        let uri: Uri = "/a\"b?x=".parse().unwrap();
        let entry = Entry {
            client: "127.0.0.1:50000".parse().unwrap(),
            method: &Method::GET,
            uri: &uri,
            version: Version::HTTP_11,
            status: StatusCode::NOT_FOUND,
            bytes: 12,
            took: Duration::from_millis(5),
        };
        let since = Duration::from_millis(1_795_262_400_123);
        for (style, expected) in [
            (
                LogStyle::Common,
                "127.0.0.1 - - [21/Nov/2026:12:00:00 +0000] \"GET /a%22b?x= HTTP/1.1\" 404 12\n",
            ),
            (
                LogStyle::Desync,
                "2026/11/21 12:00:00 Client: 127.0.0.1:50000, Request: GET /a\"b?x=, Response: 404\n",
            ),
        ] {
            assert_eq!(line(style, &entry, since), expected);
        }
        let json: serde_json::Value =
            serde_json::from_str(&line(LogStyle::Json, &entry, since)).unwrap();
        assert_eq!(json["time"], "2026-11-21T12:00:00.123Z");
        assert_eq!((&json["uri"], &json["status"]), (&"/a\"b?x=".into(), &404.into()));
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }
}
