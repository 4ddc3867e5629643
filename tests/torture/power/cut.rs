//! What a power cut leaves of a folder: what was synced, and of the rest nothing or, since a disk writes in whichever order it likes, any
//! part.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;

/// What becomes of writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnsyncedWrites {
    /// None of them reached the disk.
    AllLost,
    /// Each block of so many bytes reached the disk or not, and so did each new size and each new name.
    SomeLost { block: usize },
}

/// Replaces the files of `folder` by what a power cut leaves, given the copy of what was synced (`volatile_cache.c` describes it).
pub(crate) fn cut_power(folder: &Path, durable: &Path, lost: UnsyncedWrites, rng: &mut StdRng) {
    let names: BTreeSet<OsString> = [folder.to_owned(), durable.join("names")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let left: Vec<_> = names
        .into_iter()
        .map(|name| {
            let content = content_left(folder, durable, &name, lost, rng);
            (name, content)
        })
        .collect();
    for (name, content) in left {
        let path = folder.join(&name);
        let _ = fs::remove_file(&path);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
    }
}

/// The content that a name has after the cut; `None` if the name is gone.
fn content_left(
    folder: &Path,
    durable: &Path,
    name: &OsString,
    lost: UnsyncedWrites,
    rng: &mut StdRng,
) -> Option<Vec<u8>> {
    let path = folder.join(name);
    let current = fs::metadata(&path).ok();
    // Files in shared memory have no copy: SQLite makes them anew.
    let copy = current.and_then(|file| {
        let data = durable.join("data").join(file.ino().to_string());
        let inode = fs::metadata(&data).ok()?.ino();
        Some((inode, fs::read(data).unwrap(), fs::read(&path).unwrap()))
    });
    let named = durable.join("names").join(name);
    let synced = fs::metadata(&named)
        .ok()
        .map(|file| (file.ino(), fs::read(&named).unwrap()));
    let UnsyncedWrites::SomeLost { block } = lost else {
        return synced.map(|(_, content)| content);
    };
    match (copy, synced) {
        (None, None) => None,
        // Removed since.
        (None, Some((_, content))) => rng.random_bool(0.5).then_some(content),
        // The name has been this file's since the last sync of the folder.
        (Some((inode, old, new)), Some((named_inode, _))) if inode == named_inode => {
            Some(mix(&old, &new, block, rng))
        }
        // Created, or put in the place of another file, since.
        (Some((_, old, new)), synced) => {
            if rng.random_bool(0.5) {
                Some(mix(&old, &new, block, rng))
            } else {
                synced.map(|(_, content)| content)
            }
        }
    }
}

/// The old content with some of the blocks of the new, and the size of one of them, or what a block needs that was added.
fn mix(old: &[u8], new: &[u8], block: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut mixed = old.to_vec();
    if rng.random_bool(0.5) {
        mixed.resize(new.len(), 0);
    }
    for start in (0..new.len()).step_by(block) {
        let end = (start + block).min(new.len());
        if old.get(start..end) == Some(&new[start..end]) || rng.random_bool(0.5) {
            continue;
        }
        if mixed.len() < end {
            mixed.resize(end, 0);
        }
        mixed[start..end].copy_from_slice(&new[start..end]);
    }
    mixed
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn mixed_file_has_each_block_from_before_or_after() {
        let (old, new) = (vec![1_u8; 40], vec![2_u8; 64]);
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mixed = mix(&old, &new, 8, &mut StdRng::seed_from_u64(seed));
            assert!((40..=64).contains(&mixed.len()), "{mixed:?}");
            for (index, block) in mixed.chunks(8).enumerate() {
                let lost = u8::from(index < 5);
                assert!(block.iter().all(|b| *b == 2) || block.iter().all(|b| *b == lost));
            }
            seen.insert(mixed);
        }
        assert!(seen.len() > 50, "{}", seen.len());
    }
}
