//! How busy the machine is while a run goes on. All of it, since most of the
//! work is done by others: servers, container engines, compilers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::disk;
use super::dispatcher::Events;
use super::event::EventKind;

/// The shortest and the longest time between two samples. It grows with the
/// run, so that a short one has a curve, and a long one no flood.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A run of this many pauses has got this many samples.
const FINENESS: u32 = 50;

/// Reports how busy the machine is until it is dropped; `data` is where the run
/// keeps its data. Ends at once where the system does not tell.
pub async fn watch(events: Events, data: PathBuf) {
    let began = Instant::now();
    let Some(mut last) = Ticks::read() else { return };
    loop {
        tokio::time::sleep((began.elapsed() / FINENESS).clamp(PAUSES.0, PAUSES.1)).await;
        let Some((ticks, memory_bytes)) = Ticks::read().zip(memory_in_use()) else { return };
        let cpu = ticks.busy_since(&last);
        last = ticks;
        events.emit(EventKind::MachineSampled {
            cpu,
            memory_bytes,
            disk_bytes: disk::used(&data).unwrap_or_default(),
        });
    }
}

/// What the processors have done since the machine was started, in ticks.
struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu user nice system idle iowait irq softirq steal ..`; the guests' time
    /// that follows is in the users' already.
    fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = numbers.take(8).filter_map(|number| number.parse().ok()).collect();
        let all = ticks.iter().sum();
        let idle: u64 = ticks.get(3..5)?.iter().sum();
        Some(Self { busy: all - idle, all })
    }

    fn busy_since(&self, earlier: &Self) -> f64 {
        let (busy, all) = (self.busy.saturating_sub(earlier.busy), self.all.saturating_sub(earlier.all));
        #[expect(clippy::cast_precision_loss, reason = "a share, with three decimals")]
        let share = busy as f64 / all.max(1) as f64;
        (share.min(1.0) * 1000.0).round() / 1000.0
    }
}

fn memory_in_use() -> Option<u64> {
    in_use(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn in_use(meminfo: &str) -> Option<u64> {
    let kilobytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(kilobytes("MemTotal")?.saturating_sub(kilobytes("MemAvailable")?) * 1024)
}

/// Bytes of memory that this process takes; none where the system does not tell.
#[must_use]
pub fn own_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages = text.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(pages * nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let earlier = Ticks::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n").unwrap();
        let later = Ticks::parse("cpu  160 0 65 820 55 0 0 0 0 0\n").unwrap();
        assert!((later.busy_since(&earlier) - 0.75).abs() < 1e-9);
        assert!(earlier.busy_since(&earlier).abs() < 1e-9, "no time has passed");
        assert_eq!(
            in_use("MemTotal:  8000 kB\nMemFree: 100 kB\nMemAvailable:  6000 kB\n"),
            Some(2000 * 1024)
        );
        assert!(Ticks::parse("nothing").is_none() && in_use("").is_none());
    }
}
