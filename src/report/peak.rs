//! How much of the machine a run has taken.

/// The most that was seen of each. Memory and disk are what came to what was in
/// use at the first sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Peak {
    /// Share of all processors, 0 to 1.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes where the run keeps its data.
    pub disk_bytes: u64,
    first: Option<(u64, u64)>,
}

impl Peak {
    /// Takes in a sample.
    pub(super) fn raise(&mut self, cpu: f64, memory_bytes: u64, disk_bytes: u64) {
        let (memory, disk) = *self.first.get_or_insert((memory_bytes, disk_bytes));
        self.cpu = self.cpu.max(cpu);
        self.memory_bytes = self.memory_bytes.max(memory_bytes.saturating_sub(memory));
        self.disk_bytes = self.disk_bytes.max(disk_bytes.saturating_sub(disk));
    }
}
