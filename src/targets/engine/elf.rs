//! Whether a program needs files of its base image to start at all.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read of the beginning, which hold the program headers.
const HEAD: usize = 64 * 1024;
/// The type of the program header that names the dynamic loader.
const PT_INTERP: u32 = 3;

/// The dynamic loader that an ELF program asks for, as in
/// `/lib64/ld-linux-x86-64.so.2`; none for static ones and other files.
pub(super) fn loader(path: &Path) -> Option<String> {
    let mut file = fs_err::File::open(path).ok()?;
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head).ok()?;
    let (offset, size) = interpreter(&head)?;
    let mut name = vec![0; usize::try_from(size.min(4096)).ok()?];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut name).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned())
}

/// Offset and size of the loader's name in a little-endian 64-bit ELF file.
fn interpreter(head: &[u8]) -> Option<(u64, u64)> {
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let (table, entry, count) = (usize::try_from(u64_at(32)?).ok()?, u16_at(54)?, u16_at(56)?);
    (0..usize::from(count)).find_map(|i| {
        let header = table + i * usize::from(entry);
        (u32_at(header)? == PT_INTERP).then_some(())?;
        Some((u64_at(header + 8)?, u64_at(header + 32)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_dynamic_programs_from_others() {
        let own = std::env::current_exe().unwrap();
        assert!(loader(&own).unwrap().contains("ld-"), "{:?}", loader(&own));
        assert_eq!(loader(Path::new(file!())), None);
        assert_eq!(interpreter(b"\x7fELF\x02\x01"), None);
    }
}
