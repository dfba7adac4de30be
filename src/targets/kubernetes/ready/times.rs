//! Where the time of a pod went.

use std::fmt;

/// Where the time of a pod went, until its workload was known to be ready.
#[derive(Debug, Clone)]
pub struct PodTimes {}

impl fmt::Display for PodTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("")
    }
}
