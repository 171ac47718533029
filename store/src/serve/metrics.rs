//! Numbers of a server, counted where things happen and added up when somebody asks.
//!
//! Each worker has a set of its own, so that no two processors write the same line of memory for
//! every request.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};

/// Methods that are told apart; the last stands for all others.
const METHODS: [&str; 4] = ["GET", "HEAD", "PUT", "other"];

/// Statuses that are told apart; the last stands for all others.
const STATUSES: [u16; 17] =
    [200, 201, 206, 304, 307, 400, 401, 404, 405, 408, 412, 413, 415, 416, 500, 503, 0];

/// The upper ends of the buckets of the latency, in microseconds; one more has all the rest.
const BUCKETS: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// The numbers of one worker.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: [[AtomicU64; STATUSES.len()]; METHODS.len()],
    latency: [AtomicU64; BUCKETS.len() + 1],
    /// In microseconds.
    latency_sum: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    chunks_out: AtomicU64,
    chunks_in: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    cut: AtomicU64,
    store_failures: AtomicU64,
}

impl Counters {
    /// A request was answered.
    pub(super) fn answered(&self, method: &Method, status: StatusCode, bytes: u64, took: Duration) {
        let last = METHODS.len() - 1;
        let method = METHODS[..last].iter().position(|name| *name == method.as_str());
        let last_status = STATUSES.len() - 1;
        let status = STATUSES.iter().position(|&code| code == status.as_u16());
        add(&self.requests[method.unwrap_or(last)][status.unwrap_or(last_status)], 1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.latency[BUCKETS.partition_point(|&end| end < micros)], 1);
        add(&self.latency_sum, micros);
        add(&self.bytes_out, bytes);
    }

    /// A chunk or an index was sent, whole or in part.
    pub(super) fn sent(&self) {
        add(&self.chunks_out, 1);
    }

    /// A chunk or an index was taken in.
    pub(super) fn stored(&self) {
        add(&self.chunks_in, 1);
    }

    pub(super) fn received(&self, bytes: u64) {
        add(&self.bytes_in, bytes);
    }

    pub(super) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(super) fn closed(&self) {
        add(&self.closed, 1);
    }

    /// A connection was closed because its peer made no progress.
    pub(super) fn cut(&self) {
        add(&self.cut, 1);
    }

    /// A store failed, so a request could not be answered.
    pub(super) fn failed(&self) {
        add(&self.store_failures, 1);
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What the stores behind a server were asked.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Asked for chunks, of the stores with their cache.
    pub(super) lookups: AtomicU64,
    /// Asked for chunks, of the stores behind the cache.
    pub(super) fetches: AtomicU64,
}

/// All numbers, added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    requests: [[u64; STATUSES.len()]; METHODS.len()],
    latency: [u64; BUCKETS.len() + 1],
    latency_sum: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) chunks_out: u64,
    pub(super) chunks_in: u64,
    opened: u64,
    pub(super) open: u64,
    pub(super) cut: u64,
    pub(super) cache_hits: u64,
    pub(super) cache_misses: u64,
    pub(super) store_failures: u64,
    pub(super) memory: u64,
    pub(super) uptime: Duration,
}

impl Totals {
    pub(super) fn add_up<'a>(
        workers: impl Iterator<Item = &'a Counters>,
        stores: &StoreCounters,
        memory: usize,
        began: Instant,
    ) -> Self {
        let mut all = Self { memory: memory as u64, uptime: began.elapsed(), ..Self::default() };
        for worker in workers {
            for (sum, counters) in all.requests.iter_mut().zip(&worker.requests) {
                sum.iter_mut().zip(counters).for_each(|(sum, counter)| *sum += get(counter));
            }
            all.latency.iter_mut().zip(&worker.latency).for_each(|(sum, c)| *sum += get(c));
            all.latency_sum += get(&worker.latency_sum);
            all.bytes_in += get(&worker.bytes_in);
            all.bytes_out += get(&worker.bytes_out);
            all.chunks_out += get(&worker.chunks_out);
            all.chunks_in += get(&worker.chunks_in);
            let closed = get(&worker.closed);
            let opened = get(&worker.opened);
            all.opened += opened;
            all.open += opened.saturating_sub(closed);
            all.cut += get(&worker.cut);
            all.store_failures += get(&worker.store_failures);
        }
        // In this order: a fetch is counted behind its lookup.
        all.cache_misses = get(&stores.fetches);
        all.cache_hits = get(&stores.lookups).saturating_sub(all.cache_misses);
        all
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.iter().flatten().sum()
    }

    /// Requests that were answered with one of these statuses.
    pub(super) fn answered_with(&self, statuses: std::ops::Range<u16>) -> u64 {
        let of_method = |counters: &[u64; STATUSES.len()]| -> u64 {
            let known = STATUSES.iter().zip(counters);
            known.filter(|(status, _)| statuses.contains(status)).map(|(_, count)| count).sum()
        };
        self.requests.iter().map(of_method).sum()
    }

    /// The time in microseconds within which this part of all requests was answered, as far as the
    /// buckets tell.
    pub(super) fn quantile(&self, part: f64) -> u64 {
        let all: u64 = self.latency.iter().sum();
        let wanted = (all as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (count, end) in self.latency.iter().zip(BUCKETS) {
            seen += count;
            if seen >= wanted {
                return if all == 0 { 0 } else { end };
            }
        }
        BUCKETS[BUCKETS.len() - 1]
    }

    /// As text in the OpenMetrics format.
    pub(super) fn open_metrics(&self, has_cache: bool) -> String {
        let mut text = String::with_capacity(8192);
        family(&mut text, "cairn_http_requests", "counter", "Requests answered.");
        for (method, counters) in METHODS.iter().zip(&self.requests) {
            for (status, count) in STATUSES.iter().zip(counters).filter(|(_, count)| **count > 0) {
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
                sample(&mut text, &format!("cairn_http_requests_total{labels}"), *count);
            }
        }
        let name = "cairn_http_request_duration_seconds";
        family(&mut text, name, "histogram", "Time from a request's header to its reply's.");
        let mut seen = 0;
        for (count, end) in self.latency.iter().zip(BUCKETS.map(Some).into_iter().chain([None])) {
            seen += count;
            let end = end.map_or("+Inf".to_owned(), |micros| format!("{}", micros as f64 / 1e6));
            sample(&mut text, &format!("{name}_bucket{{le=\"{end}\"}}"), seen);
        }
        sample(&mut text, &format!("{name}_sum"), self.latency_sum as f64 / 1e6);
        sample(&mut text, &format!("{name}_count"), seen);
        let counters = [
            ("cairn_http_received_bytes", "Bytes of bodies received.", self.bytes_in),
            ("cairn_http_sent_bytes", "Bytes of bodies sent.", self.bytes_out),
            ("cairn_http_connections", "Connections accepted.", self.opened),
            ("cairn_http_connections_cut", "Connections cut for lack of progress.", self.cut),
            ("cairn_objects_sent", "Chunks or indexes sent.", self.chunks_out),
            ("cairn_objects_stored", "Chunks or indexes stored.", self.chunks_in),
            ("cairn_store_failures", "Requests to stores that failed.", self.store_failures),
        ];
        let cache = [
            ("cairn_cache_hits", "Chunks found in the cache.", self.cache_hits),
            ("cairn_cache_misses", "Chunks not found in the cache.", self.cache_misses),
        ];
        let cache = cache.into_iter().filter(|_| has_cache);
        for (name, help, count) in counters.into_iter().chain(cache) {
            family(&mut text, name, "counter", help);
            sample(&mut text, &format!("{name}_total"), count);
        }
        for (name, help, value) in [
            ("cairn_http_open_connections", "Connections open now.", self.open),
            ("cairn_http_body_memory_bytes", "Bytes of bodies in memory.", self.memory),
            ("cairn_uptime_seconds", "Seconds since the start.", self.uptime.as_secs()),
        ] {
            family(&mut text, name, "gauge", help);
            sample(&mut text, name, value);
        }
        text.push_str("# EOF\n");
        text
    }
}

/// Writing to a string does not fail.
fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn sample(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(workers: &[Counters]) -> Totals {
        Totals::add_up(workers.iter(), &StoreCounters::default(), 0, Instant::now())
    }

    #[test]
    fn workers_are_added_up() {
        let workers = [Counters::default(), Counters::default()];
        for (worker, count) in workers.iter().zip([1, 2]) {
            for _ in 0..count {
                worker.answered(&Method::GET, StatusCode::OK, 10, Duration::from_micros(60));
            }
        }
        workers[1].answered(&Method::PATCH, StatusCode::IM_A_TEAPOT, 0, Duration::from_secs(100));
        let all = totals(&workers);
        assert_eq!((all.requests(), all.bytes_out, all.answered_with(200..300)), (4, 30, 3));
        assert_eq!((all.quantile(0.5), all.quantile(1.0)), (100, 30_000_000));
        let text = all.open_metrics(false);
        for line in [
            "cairn_http_requests_total{method=\"GET\",status=\"200\"} 3",
            "cairn_http_requests_total{method=\"other\",status=\"other\"} 1",
            "cairn_http_request_duration_seconds_bucket{le=\"0.00005\"} 0",
            "cairn_http_request_duration_seconds_bucket{le=\"0.0001\"} 3",
            "cairn_http_request_duration_seconds_bucket{le=\"30\"} 3",
            "cairn_http_request_duration_seconds_bucket{le=\"+Inf\"} 4",
            "cairn_http_request_duration_seconds_count 4",
            "cairn_http_sent_bytes_total 30",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && !text.contains("cache"));
        assert_eq!(totals(&[]).quantile(0.5), 0);
    }
}
