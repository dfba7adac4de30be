//! TCP ports on 127.0.0.1 that no other run on this machine uses, whoever
//! started it.
//!
//! A port is claimed under a name that all supervisors share, then bound once
//! for a look whether somebody else listens. The kernel drops the claim when
//! the supervisor ends, however that happens. Ports lie outside the range from
//! which the kernel takes the local ends of outgoing connections, so that a
//! passing client cannot take one between its reservation and its use.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use super::claim::Claim;
use super::failure::Failure;
use super::port_holder::holder;

/// The ports of one run.
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    held: BTreeMap<u16, Claim>,
}

impl Ports {
    pub(super) fn new() -> Self {
        Self { range: range(ephemeral()), held: BTreeMap::new() }
    }

    /// Reserves `preferred`, or any free port of the range.
    pub(super) fn reserve(&mut self, preferred: Option<u16>) -> Result<u16, Failure> {
        let (first, last) = (*self.range.start(), *self.range.end());
        if let Some(port) = preferred {
            return self.take(port);
        }
        // Runs that start together begin at different places, so that they
        // rarely meet.
        let count = u32::from(last - first) + 1;
        let start = getrandom::u32().unwrap_or_else(|_| std::process::id()) % count;
        (start..start + count)
            .filter_map(|step| u16::try_from(u32::from(first) + step % count).ok())
            .find_map(|port| self.take(port).ok())
            .ok_or(Failure::NoPort { first, last })
    }

    pub(super) fn release(&mut self, port: u16) {
        self.held.remove(&port);
    }

    pub(super) fn list(&self) -> Vec<u16> {
        self.held.keys().copied().collect()
    }

    fn take(&mut self, port: u16) -> Result<u16, Failure> {
        let claimed = Claim::new(port).and_then(|claim| {
            // Sets SO_REUSEADDR: a port whose last connections linger is free.
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            Ok(claim)
        });
        match claimed {
            Ok(claim) => {
                self.held.insert(port, claim);
                Ok(port)
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(Failure::PortTaken { port, holder: holder(port) })
            }
            Err(error) => Err(Failure::PortRefused { port, reason: error.to_string() }),
        }
    }
}

/// Where to look for ports, given the kernel's own range: in a stretch that few
/// servers use by default, else in the widest room beside the kernel's range.
fn range(ephemeral: Option<RangeInclusive<u16>>) -> RangeInclusive<u16> {
    const USUAL: RangeInclusive<u16> = 20_000..=31_999;
    /// Fewer ports than this are not worth a stretch of their own.
    const ENOUGH: u16 = 1_000;
    let Some(ephemeral) = ephemeral else { return USUAL };
    let (low, high) = ephemeral.into_inner();
    if low > *USUAL.end() || high < *USUAL.start() {
        return USUAL;
    }
    let below = 10_000.min(low)..=low.saturating_sub(1);
    let above = high.saturating_add(1)..=u16::MAX;
    let room = |range: &RangeInclusive<u16>| range.end().saturating_sub(*range.start());
    let widest = if room(&below) >= room(&above) { below } else { above };
    // The kernel has nearly all ports: a claimed one can then be lost to an
    // outgoing connection, which the server's own bind will tell.
    if room(&widest) >= ENOUGH { widest } else { USUAL }
}

#[cfg(target_os = "linux")]
fn ephemeral() -> Option<RangeInclusive<u16>> {
    let text = fs_err::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let (low, high) = text.trim().split_once(char::is_whitespace)?;
    Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
}

/// What macOS and the BSDs are shipped with (`net.inet.ip.portrange`).
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn ephemeral() -> Option<RangeInclusive<u16>> {
    Some(49_152..=65_535)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_beside_the_range_of_the_kernel() {
        assert_eq!(range(None), 20_000..=31_999);
        assert_eq!(range(Some(32_768..=60_999)), 20_000..=31_999);
        assert_eq!(range(Some(49_152..=65_535)), 20_000..=31_999);
        assert_eq!(range(Some(15_000..=65_000)), 10_000..=14_999);
        assert_eq!(range(Some(1_024..=60_999)), 61_000..=65_535);
        assert_eq!(range(Some(9_000..=65_535)), 20_000..=31_999, "the kernel has nearly all");
        assert_eq!(range(Some(1_024..=65_535)), 20_000..=31_999, "the kernel has them all");
    }

    #[test]
    fn a_reserved_port_can_be_bound_and_is_not_given_twice() {
        let (mut one, mut other) = (Ports::new(), Ports::new());
        let port = one.reserve(None).expect("most ports are free");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is ours");
        drop(listener);

        let refusal = other.reserve(Some(port)).expect_err("it is taken");
        assert!(matches!(refusal, Failure::PortTaken { port: taken, .. } if taken == port), "{refusal}");

        one.release(port);
        assert_eq!(other.reserve(Some(port)), Ok(port));
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_taken() {
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let listener = TcpListener::bind((address, 0)).expect("some port is free");
            let port = listener.local_addr().expect("it is bound").port();
            let refusal = Ports::new().reserve(Some(port)).expect_err("it is taken");
            assert!(matches!(refusal, Failure::PortTaken { .. }), "{address}: {refusal}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_refusal_names_who_listens_and_who_has_reserved() {
        let me = std::process::id().cast_signed();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let port = listener.local_addr().expect("it is bound").port();
        assert_eq!(holder(port).map(|holder| holder.pid), Some(me));

        let mut ports = Ports::new();
        let port = ports.reserve(None).expect("most ports are free");
        assert_eq!(holder(port).map(|holder| holder.pid), Some(me));
    }
}
